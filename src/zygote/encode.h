/* From a Python object to the canonical JSON of http/json.h: the result of a run, or why it is none.
 *
 * Runs in the jail, after main() has returned, over objects that a hostile script made. Calls script code in one case
 * only: items() of a dict subclass. Never recurses past JSON_DEPTH; stops as soon as the text is past its limit. */
#ifndef SAFE_SCRIPT_ENCODE_H
#define SAFE_SCRIPT_ENCODE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "frames.h"

#include <stddef.h>

enum encoded {
    ENCODED,
    ENCODED_NOT, /* holds what JSON cannot: reason says what and where */
    ENCODED_TOO_BIG,
    ENCODED_RAISED, /* a Python exception is set: out of memory, or items() raised */
};

/* What the encoder needs from the interpreter, taken before any script has run. All are borrowed. */
struct encode_tools {
    PyObject *type_name, *type_module; /* type.__dict__'s descriptors: no metaclass of a script's is asked */
    PyObject *bit_length;              /* int.__dict__["bit_length"] */
};

/* Appends the JSON of value, at most `most` bytes, to text; on ENCODED_NOT the whole reason to reason (UTF-8, but for
 * surrogates in a script's names, which come as escapes). */
enum encoded encode(const struct encode_tools *tools, PyObject *value, size_t most, struct buffer *text,
                    struct buffer *reason);

/* A new string that is the real name (or module) of type, whatever its metaclass pretends; NULL with no exception set
 * when there is none. */
PyObject *encode_type_text(PyObject *descriptor, PyObject *type);

#endif
