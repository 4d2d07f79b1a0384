#include "encode_parts.h"

#include "limit.h"

#include <math.h>

static enum encoded encode_value(struct encoder *encoder, PyObject *value, const struct level *up);

/* Refuses level->key when its text (as written, so equal texts are equal keys) is in `seen` already; notes it else. */
static enum encoded note_key(struct encoder *encoder, PyObject *seen, const uint8_t *text, size_t length,
                             const struct level *level)
{
    enum encoded result = ENCODED_RAISED;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)text, (Py_ssize_t)length);
    if (!bytes)
        return ENCODED_RAISED;
    PyObject *twin = PyDict_GetItemWithError(seen, bytes);
    if (twin)
        result = refuse_twins(encoder, twin, level);
    else if (!PyErr_Occurred() && PyDict_SetItem(seen, bytes, level->key) == 0)
        result = ENCODED;
    Py_DECREF(bytes);
    return result;
}

/* Looks for twins among all keys of a plain dict: only needed where a key's text can be another one's. */
static enum encoded check_keys(struct encoder *encoder, PyObject *dict, const struct level *level)
{
    struct level at = *level;
    PyObject *seen = PyDict_New(), *key;
    Py_ssize_t position = 0;
    size_t room = encoder->most - encoder->out->length; /* all keys have to fit in there */
    enum encoded result = seen ? ENCODED : ENCODED_RAISED;
    while (result == ENCODED && PyDict_Next(dict, &position, &key, NULL)) {
        struct buffer text = {0};
        struct encoder to_text = {.tools = encoder->tools, .out = &text, .most = room};
        bool surrogates = false;
        Py_INCREF(key);
        at.key = key;
        result = put_key(&to_text, key, &surrogates);
        if (result == ENCODED)
            result = note_key(encoder, seen, text.bytes, text.length, &at);
        else if (result == ENCODED_NOT)
            refuse_key(encoder, &at);
        room -= text.length;
        buffer_free(&text);
        Py_DECREF(key);
    }
    Py_XDECREF(seen);
    return result;
}

static enum encoded put_member(struct encoder *encoder, PyObject *value, struct level *level, bool first,
                               PyObject *seen, bool *surrogates)
{
    enum encoded result = first ? ENCODED : put(encoder, ",", 1);
    size_t start = encoder->out->length;
    if (result == ENCODED)
        result = put_key(encoder, level->key, surrogates);
    if (result == ENCODED_NOT)
        return refuse_key(encoder, level);
    if (result == ENCODED && seen)
        result = note_key(encoder, seen, encoder->out->bytes + start, encoder->out->length - start, level);
    if (result == ENCODED)
        result = put(encoder, ":", 1);
    return result == ENCODED ? encode_value(encoder, value, level) : result;
}

/* Whether no two keys can have the same text: all of them are plain strings, or all plain integers. */
static bool has_plain_keys(PyObject *dict)
{
    PyObject *key;
    Py_ssize_t position = 0;
    size_t strings = 0, integers = 0, keys = 0;
    for (; PyDict_Next(dict, &position, &key, NULL); keys++) {
        strings += PyUnicode_CheckExact(key);
        integers += PyLong_CheckExact(key);
        if (strings <= keys && integers <= keys)
            return false;
    }
    return true;
}

static enum encoded encode_dict(struct encoder *encoder, PyObject *dict, struct level *level)
{
    PyObject *key, *value;
    Py_ssize_t position = 0, size = PyDict_Size(dict);
    bool checked = !has_plain_keys(dict);
    enum encoded result = checked ? check_keys(encoder, dict, level) : ENCODED;
    for (bool first = true; result == ENCODED && PyDict_Next(dict, &position, &key, &value); first = false) {
        bool surrogates = false;
        Py_INCREF(key);
        Py_INCREF(value);
        level->key = key;
        result = put_member(encoder, value, level, first, NULL, &surrogates);
        if (result == ENCODED && surrogates && !checked) {
            checked = true; /* two surrogates may have become a character that is another key, too */
            result = check_keys(encoder, dict, level);
        }
        Py_DECREF(key);
        Py_DECREF(value);
        if (result == ENCODED && PyDict_Size(dict) != size) {
            PyErr_SetString(PyExc_RuntimeError, "dictionary changed size while main()'s result was encoded");
            result = ENCODED_RAISED;
        }
    }
    level->key = NULL;
    return result;
}

static enum encoded encode_item(struct encoder *encoder, PyObject *item, struct level *level, bool first,
                                PyObject *seen)
{
    bool surrogates = false;
    if (!PyTuple_Check(item) || PyTuple_Size(item) != 2) {
        PyErr_SetString(PyExc_ValueError, "items() must return 2-tuples");
        return ENCODED_RAISED;
    }
    level->key = PyTuple_GetItem(item, 0); /* a tuple keeps its items, and the caller keeps the tuple */
    return put_member(encoder, PyTuple_GetItem(item, 1), level, first, seen, &surrogates);
}

/* A subclass of dict is what its items() says. */
static enum encoded encode_items(struct encoder *encoder, PyObject *dict, struct level *level)
{
    PyObject *seen = PyDict_New(), *item;
    PyObject *items = seen ? PyObject_CallMethod(dict, "items", NULL) : NULL;
    PyObject *iterator = items ? PyObject_GetIter(items) : NULL;
    enum encoded result = iterator ? ENCODED : ENCODED_RAISED;
    for (bool first = true; result == ENCODED && (item = PyIter_Next(iterator)); first = false) {
        result = encode_item(encoder, item, level, first, seen);
        Py_DECREF(item);
    }
    if (result == ENCODED && PyErr_Occurred())
        result = ENCODED_RAISED;
    level->key = NULL;
    Py_XDECREF(iterator);
    Py_XDECREF(items);
    Py_XDECREF(seen);
    return result;
}

/* A list's or tuple's own items, whatever a subclass says of them. */
static enum encoded encode_array(struct encoder *encoder, PyObject *array, struct level *level)
{
    bool list = PyList_Check(array);
    enum encoded result = ENCODED;
    /* The size is asked for each time: items() of something inside may shorten the list. */
    for (; result == ENCODED && level->index < (list ? PyList_Size(array) : PyTuple_Size(array)); level->index++) {
        PyObject *item = list ? PyList_GetItem(array, level->index) : PyTuple_GetItem(array, level->index);
        if (!item)
            return ENCODED_RAISED;
        Py_INCREF(item);
        if (level->index)
            result = put(encoder, ",", 1);
        if (result == ENCODED)
            result = encode_value(encoder, item, level);
        Py_DECREF(item);
    }
    return result;
}

static enum encoded encode_container(struct encoder *encoder, PyObject *container, const struct level *up)
{
    struct level level = {.up = up, .container = container, .depth = up ? up->depth + 1 : 1};
    bool dict = PyDict_Check(container);
    for (const struct level *at = up; at; at = at->up) {
        if (at->container == container)
            return refuse_cycle(encoder, up);
    }
    if (level.depth > JSON_DEPTH)
        return refuse_depth(encoder);
    enum encoded result = put(encoder, dict ? "{" : "[", 1);
    if (result != ENCODED)
        return result;
    if (PyDict_CheckExact(container))
        result = encode_dict(encoder, container, &level);
    else
        result = dict ? encode_items(encoder, container, &level) : encode_array(encoder, container, &level);
    return result == ENCODED ? put(encoder, dict ? "}" : "]", 1) : result;
}

static enum encoded encode_value(struct encoder *encoder, PyObject *value, const struct level *up)
{
    bool surrogates = false;
    if (PyUnicode_Check(value))
        return put_string(encoder, value, &surrogates);
    if (value == Py_None || value == Py_True || value == Py_False)
        return put_text(encoder, value == Py_None ? "null" : value == Py_True ? "true" : "false");
    if (PyLong_Check(value))
        return put_integer(encoder, value);
    if (PyFloat_Check(value)) {
        double number = PyFloat_AsDouble(value);
        return isfinite(number) ? put_finite(encoder, number) : refuse_value(encoder, value, up);
    }
    if (PyDict_Check(value) || PyList_Check(value) || PyTuple_Check(value))
        return encode_container(encoder, value, up);
    return refuse_value(encoder, value, up);
}

enum encoded encode(const struct encode_tools *tools, PyObject *value, size_t most, struct buffer *text,
                    struct buffer *reason)
{
    struct encoder encoder = {.tools = tools, .out = text, .reason = reason, .most = text->length + most};
    return encode_value(&encoder, value, NULL);
}
