/* Why a result is not JSON, in words: what it is and where in the result. */
#include "encode_parts.h"

#include "limit.h"
#include "scope.h"

#include <stdio.h>
#include <string.h>

PyObject *encode_type_text(PyObject *descriptor, PyObject *type)
{
    PyObject *text = PyObject_CallMethod(descriptor, "__get__", "OO", type, (PyObject *)&PyType_Type);
    if (!text)
        PyErr_Clear();
    if (text && !PyUnicode_Check(text))
        Py_CLEAR(text);
    return text;
}

static void say(struct encoder *encoder, const char *text)
{
    buffer_append(encoder->reason, text, strlen(text));
}

enum { SHOWN_CHARACTERS = 40, SHOWN_STEPS = 8 /* at each end of a path */ };

/* At most SHOWN_CHARACTERS of a string, escaped as in JSON. */
static void say_string(struct encoder *encoder, PyObject *string, const char *quote)
{
    struct encoder to_reason = {.tools = encoder->tools, .out = encoder->reason, .most = SIZE_MAX};
    bool surrogates = false;
    PyObject *cut = PyUnicode_Substring(string, 0, SHOWN_CHARACTERS);
    say(encoder, quote);
    if (!cut || put_inside(&to_reason, cut, &surrogates) != ENCODED)
        PyErr_Clear();
    if (PyUnicode_GetLength(string) > SHOWN_CHARACTERS)
        say(encoder, "…");
    say(encoder, quote);
    Py_XDECREF(cut);
}

/* As Python shows it, but with JSON's quotes. */
static void say_key(struct encoder *encoder, PyObject *key)
{
    struct buffer text = {0};
    struct encoder to_text = {.tools = encoder->tools, .out = &text, .most = SHOWN_CHARACTERS};
    bool surrogates = false;
    if (PyUnicode_Check(key)) {
        say_string(encoder, key, "\"");
    } else if (key == Py_True || key == Py_False || key == Py_None) {
        say(encoder, key == Py_True ? "True" : key == Py_False ? "False" : "None");
    } else if (put_key(&to_text, key, &surrogates) == ENCODED) {
        buffer_append(encoder->reason, text.bytes + 1, text.length - 2);
    } else {
        PyErr_Clear();
        say(encoder, "…");
    }
    buffer_free(&text);
}

/* result["a"][3]: of a long path the two ends. */
static void say_path(struct encoder *encoder, const struct level *level)
{
    const struct level *steps[JSON_DEPTH];
    size_t count = 0;
    for (; level && count < COUNT(steps); level = level->up)
        steps[count++] = level;
    say(encoder, "result");
    for (size_t i = 0; i < count; i++) {
        if (count / 2 > SHOWN_STEPS && i == SHOWN_STEPS) {
            say(encoder, "[…]");
            i = count - SHOWN_STEPS;
        }
        const struct level *step = steps[count - 1 - i];
        char index[32];
        snprintf(index, sizeof index, "%zd", step->index);
        say(encoder, "[");
        if (step->key)
            say_key(encoder, step->key);
        else
            say(encoder, index);
        say(encoder, "]");
    }
}

/* What people can do about types that they meet often. NULL matches any name. */
static const struct {
    const char *module, *name, *hint;
} hints[] = {
    {"numpy", NULL, "; convert it, e.g. with .tolist()"},
    {"pandas", "DataFrame", "; convert it, e.g. with .to_dict(\"records\")"},
    {"pandas", "Series", "; convert it, e.g. with .tolist()"},
    {"pandas", NULL, "; convert it, e.g. with str()"},
    {"decimal", "Decimal", "; convert it, e.g. with str() or float()"},
    {"fractions", "Fraction", "; convert it, e.g. with str() or float()"},
    {"datetime", "timedelta", "; convert it, e.g. with .total_seconds()"},
    {"datetime", NULL, "; convert it, e.g. with .isoformat()"},
    {"uuid", "UUID", "; convert it, e.g. with str()"},
    {"pathlib", NULL, "; convert it, e.g. with str()"},
    {"builtins", "set", "; convert it, e.g. with list()"},
    {"builtins", "frozenset", "; convert it, e.g. with list()"},
    {"builtins", "range", "; convert it, e.g. with list()"},
    {"builtins", "generator", "; convert it, e.g. with list()"},
    {"builtins", "map", "; convert it, e.g. with list()"},
    {"builtins", "dict_keys", "; convert it, e.g. with list()"},
    {"builtins", "dict_values", "; convert it, e.g. with list()"},
    {"builtins", "bytes", "; convert it, e.g. with .decode()"},
    {"builtins", "bytearray", "; convert it, e.g. with .decode()"},
};

/* Whether module is `package` or inside it. */
static bool inside(PyObject *module, const char *package)
{
    size_t length = strlen(package);
    PyObject *front = module ? PyUnicode_Substring(module, 0, (Py_ssize_t)length + 1) : NULL;
    bool equal = false;
    if (front) {
        char dotted[32];
        snprintf(dotted, sizeof dotted, "%s.", package);
        equal = PyUnicode_CompareWithASCIIString(front, package) == 0 ||
                PyUnicode_CompareWithASCIIString(front, dotted) == 0;
    }
    PyErr_Clear();
    Py_XDECREF(front);
    return equal;
}

static const char *hint_for(PyObject *module, PyObject *name)
{
    for (size_t i = 0; i < COUNT(hints); i++) {
        if (inside(module, hints[i].module) &&
            (!hints[i].name || PyUnicode_CompareWithASCIIString(name, hints[i].name) == 0))
            return hints[i].hint;
    }
    return "";
}

/* "numpy." of "numpy.core"; nothing for what people know by its name alone. */
static void say_package(struct encoder *encoder, PyObject *module)
{
    if (!module || inside(module, "builtins") || inside(module, "script"))
        return;
    Py_ssize_t length = PyUnicode_GetLength(module), dot = PyUnicode_FindChar(module, '.', 0, length, 1);
    PyObject *package = PyUnicode_Substring(module, 0, dot < 0 ? length : dot);
    if (package)
        say_string(encoder, package, "");
    say(encoder, ".");
    PyErr_Clear();
    Py_XDECREF(package);
}

/* "a set", "a numpy.ndarray"; returns the hint. */
static const char *say_type(struct encoder *encoder, PyObject *value)
{
    PyObject *type = (PyObject *)Py_TYPE(value);
    PyObject *name = encode_type_text(encoder->tools->type_name, type);
    PyObject *module = encode_type_text(encoder->tools->type_module, type);
    const char *hint = "";
    if (name) {
        say(encoder, "a ");
        say_package(encoder, module);
        say_string(encoder, name, "");
        hint = hint_for(module, name);
    } else {
        say(encoder, "a thing without a name");
    }
    Py_XDECREF(name);
    Py_XDECREF(module);
    return hint;
}

enum encoded refuse_value(struct encoder *encoder, PyObject *value, const struct level *up)
{
    const char *special = PyFloat_Check(value) ? special_float(PyFloat_AsDouble(value)) : NULL, *hint = "";
    say_path(encoder, up);
    say(encoder, " is ");
    if (special)
        say(encoder, special);
    else
        hint = say_type(encoder, value);
    say(encoder, ", which JSON cannot hold");
    say(encoder, hint);
    return ENCODED_NOT;
}

enum encoded refuse_key(struct encoder *encoder, const struct level *level)
{
    say_path(encoder, level->up);
    const char *special = PyFloat_Check(level->key) ? special_float(PyFloat_AsDouble(level->key)) : NULL;
    say(encoder, " has ");
    if (special)
        say(encoder, special);
    else
        say_type(encoder, level->key);
    say(encoder, " as a key, which JSON cannot hold");
    return ENCODED_NOT;
}

enum encoded refuse_twins(struct encoder *encoder, PyObject *one, const struct level *level)
{
    say_path(encoder, level->up);
    say(encoder, " has the keys ");
    say_key(encoder, one);
    say(encoder, " and ");
    say_key(encoder, level->key);
    say(encoder, ", which are the same key in JSON");
    return ENCODED_NOT;
}

enum encoded refuse_cycle(struct encoder *encoder, const struct level *up)
{
    say_path(encoder, up);
    say(encoder, " contains itself (a cycle)");
    return ENCODED_NOT;
}

enum encoded refuse_depth(struct encoder *encoder)
{
    char text[64];
    snprintf(text, sizeof text, "result[...] is nested deeper than %d levels", JSON_DEPTH);
    say(encoder, text);
    return ENCODED_NOT;
}
