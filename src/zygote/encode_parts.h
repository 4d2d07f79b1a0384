/* Private to encode.c, scalars.c and refusals.c: the encoder's state, and the three parts' calls to each other. */
#ifndef SAFE_SCRIPT_ENCODE_PARTS_H
#define SAFE_SCRIPT_ENCODE_PARTS_H

#include "encode.h"

#include <stdbool.h>

/* A container that is being encoded, and which of its members is. */
struct level {
    const struct level *up; /* NULL for the result itself */
    PyObject *container;
    PyObject *key; /* of a dict: the member's, held by the caller */
    Py_ssize_t index;
    unsigned depth; /* 1 for the result itself */
};

struct encoder {
    const struct encode_tools *tools;
    struct buffer *out, *reason;
    size_t most;
};

/* ---- scalars.c: what has no members; nothing here calls a script's code ---- */

enum encoded put(struct encoder *encoder, const void *bytes, size_t length);
enum encoded put_text(struct encoder *encoder, const char *text);

/* A str, or the text below a subclass of it, with quotes; put_inside() without. *surrogates is set when it holds any.
 */
enum encoded put_string(struct encoder *encoder, PyObject *string, bool *surrogates);
enum encoded put_inside(struct encoder *encoder, PyObject *string, bool *surrogates);

enum encoded put_integer(struct encoder *encoder, PyObject *integer);
enum encoded put_finite(struct encoder *encoder, double value);

/* "NaN", "Infinity" or "-Infinity"; NULL for a number. */
const char *special_float(double value);

/* As json.dumps() writes keys: all become strings. ENCODED_NOT without a reason for what cannot be a key. */
enum encoded put_key(struct encoder *encoder, PyObject *key, bool *surrogates);

/* ---- refusals.c: each writes the whole reason and returns ENCODED_NOT ---- */

enum encoded refuse_value(struct encoder *encoder, PyObject *value, const struct level *up);
enum encoded refuse_key(struct encoder *encoder, const struct level *level);
enum encoded refuse_twins(struct encoder *encoder, PyObject *one, const struct level *level);
enum encoded refuse_cycle(struct encoder *encoder, const struct level *up);
enum encoded refuse_depth(struct encoder *encoder);

#endif
