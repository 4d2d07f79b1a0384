/* JSON's scalars and keys, from Python's. */
#include "encode_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum encoded put(struct encoder *encoder, const void *bytes, size_t length)
{
    if (length > encoder->most - encoder->out->length)
        return ENCODED_TOO_BIG;
    buffer_append(encoder->out, bytes, length);
    if (!encoder->out->failed)
        return ENCODED;
    PyErr_NoMemory();
    return ENCODED_RAISED;
}

enum encoded put_text(struct encoder *encoder, const char *text)
{
    return put(encoder, text, strlen(text));
}

/* ---- strings ---- */

static enum encoded put_escape(struct encoder *encoder, unsigned unit)
{
    static const char brief[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    char text[8];
    const char *found = unit && unit < 0x80 ? strchr(brief, (int)unit) : NULL;
    if (found)
        snprintf(text, sizeof text, "\\%c", letters[found - brief]);
    else
        snprintf(text, sizeof text, "\\u%04x", unit & 0xffff);
    return put_text(encoder, text);
}

static bool needs_escape(uint8_t byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

/* UTF-8 without surrogates. */
static enum encoded put_utf8(struct encoder *encoder, const uint8_t *bytes, size_t length)
{
    enum encoded result = ENCODED;
    size_t from = 0;
    for (size_t i = 0; i < length && result == ENCODED; i++) {
        if (!needs_escape(bytes[i]))
            continue;
        result = put(encoder, bytes + from, i - from);
        if (result == ENCODED)
            result = put_escape(encoder, bytes[i]);
        from = i + 1;
    }
    return result == ENCODED ? put(encoder, bytes + from, length - from) : result;
}

static size_t utf8_of(Py_UCS4 c, uint8_t bytes[4])
{
    if (c < 0x80) {
        bytes[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | c >> 6);
        bytes[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | c >> 12);
        bytes[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    bytes[0] = (uint8_t)(0xf0 | c >> 18);
    bytes[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    bytes[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    bytes[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* A string with surrogates. JSON's escapes are UTF-16, so two that make a pair are one character to every reader; it is
 * written as that character, and so has one form only. */
static enum encoded put_characters(struct encoder *encoder, PyObject *string)
{
    Py_ssize_t length = PyUnicode_GetLength(string);
    Py_UCS4 *characters = PyUnicode_AsUCS4Copy(string);
    enum encoded result = ENCODED;
    if (!characters)
        return ENCODED_RAISED;
    for (Py_ssize_t i = 0; i < length && result == ENCODED; i++) {
        Py_UCS4 c = characters[i];
        uint8_t bytes[4];
        if (c >= 0xd800 && c < 0xdc00 && i + 1 < length && characters[i + 1] >= 0xdc00 && characters[i + 1] < 0xe000)
            c = 0x10000 + ((c - 0xd800) << 10) + (characters[++i] - 0xdc00);
        if (c >= 0xd800 && c < 0xe000)
            result = put_escape(encoder, (unsigned)c);
        else
            result = put_utf8(encoder, bytes, utf8_of(c, bytes));
    }
    PyMem_Free(characters);
    return result;
}

enum encoded put_inside(struct encoder *encoder, PyObject *string, bool *surrogates)
{
    char *bytes;
    Py_ssize_t length = PyUnicode_GetLength(string);
    if (length < 0)
        return ENCODED_RAISED;
    if ((size_t)length > encoder->most - encoder->out->length)
        return ENCODED_TOO_BIG; /* before a copy is made */
    PyObject *utf8 = PyUnicode_AsUTF8String(string);
    if (!utf8 && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear();
        *surrogates = true;
        return put_characters(encoder, string);
    }
    if (!utf8 || PyBytes_AsStringAndSize(utf8, &bytes, &length))
        return ENCODED_RAISED;
    enum encoded result = put_utf8(encoder, (const uint8_t *)bytes, (size_t)length);
    Py_DECREF(utf8);
    return result;
}

enum encoded put_string(struct encoder *encoder, PyObject *string, bool *surrogates)
{
    enum encoded result = put(encoder, "\"", 1);
    if (result == ENCODED)
        result = put_inside(encoder, string, surrogates);
    return result == ENCODED ? put(encoder, "\"", 1) : result;
}

/* ---- numbers ---- */

/* Decimal digits of an int too large for the machine. From CPython 3.12 on this may run Python code of the library,
 * which a script may have patched: what comes back must be digits. */
static enum encoded put_long_integer(struct encoder *encoder, PyObject *integer)
{
    enum encoded result = ENCODED_RAISED;
    char *digits;
    Py_ssize_t length;
    PyObject *bits = PyObject_CallFunctionObjArgs(encoder->tools->bit_length, integer, NULL);
    size_t size = bits ? PyLong_AsSize_t(bits) : (size_t)-1;
    Py_XDECREF(bits);
    if (PyErr_Occurred())
        return ENCODED_RAISED;
    if (size / 4 > encoder->most) /* a digit is 3.3 bits; and the conversion would take hours */
        return ENCODED_TOO_BIG;
    PyObject *text = PyNumber_ToBase(integer, 10);
    PyObject *ascii = text ? PyUnicode_AsASCIIString(text) : NULL;
    if (ascii && PyBytes_AsStringAndSize(ascii, &digits, &length) == 0) {
        size_t sign = digits[0] == '-';
        if (length > 1 && strspn(digits + sign, "0123456789") == (size_t)length - sign)
            result = put(encoder, digits, (size_t)length);
        else
            PyErr_SetString(PyExc_ValueError, "an int was not converted to digits");
    }
    Py_XDECREF(ascii);
    Py_XDECREF(text);
    return result;
}

enum encoded put_integer(struct encoder *encoder, PyObject *integer)
{
    char text[24];
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
    if (overflow)
        return put_long_integer(encoder, integer);
    if (value == -1 && PyErr_Occurred())
        return ENCODED_RAISED;
    snprintf(text, sizeof text, "%lld", value);
    return put_text(encoder, text);
}

/* As float.__repr__ has it. */
enum encoded put_finite(struct encoder *encoder, double value)
{
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!text)
        return ENCODED_RAISED;
    enum encoded result = put_text(encoder, text);
    PyMem_Free(text);
    return result;
}

const char *special_float(double value)
{
    return isnan(value) ? "NaN" : isinf(value) ? (value > 0 ? "Infinity" : "-Infinity") : NULL;
}

/* ---- keys ---- */

enum encoded put_key(struct encoder *encoder, PyObject *key, bool *surrogates)
{
    if (PyUnicode_Check(key))
        return put_string(encoder, key, surrogates);
    const char *word = key == Py_True ? "true" : key == Py_False ? "false" : key == Py_None ? "null" : NULL;
    double number = PyFloat_Check(key) ? PyFloat_AsDouble(key) : 0;
    if (!word && (special_float(number) || (!PyFloat_Check(key) && !PyLong_Check(key))))
        return ENCODED_NOT; /* json.dumps() would write "NaN", but as a value it is refused, too */
    enum encoded result = put(encoder, "\"", 1);
    if (result != ENCODED)
        return result;
    if (word)
        result = put_text(encoder, word);
    else
        result = PyFloat_Check(key) ? put_finite(encoder, number) : put_integer(encoder, key);
    return result == ENCODED ? put(encoder, "\"", 1) : result;
}
