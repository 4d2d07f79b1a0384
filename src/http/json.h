/* JSON as we take and give it. Iterative, no recursion, nesting capped at JSON_DEPTH.
 *
 * Two readers over one scanner:
 *   - json_check(): strict RFC 8259 for requests. Refused, with the byte offset and a reason: trailing bytes, invalid
 * UTF-8, duplicate keys in any object (compared after unescaping), nesting past JSON_DEPTH, a byte-order mark, control
 *     characters in strings. Numbers and strings stay as written (spans of the input).
 *   - json_canonical(): exactly what our encoder in the jail writes: an object, no white space, raw UTF-8, only the
 * escapes
 *     \" \\ \b \f \n \r \t, \u00hh (lower-case hex) for the other control characters and \udhhh for lone surrogates, no
 *     duplicate keys, nesting capped. Anything else is not ours.
 * Time is O(n log n) at worst whatever the input (duplicate keys are found by sorting, not by an attackable hash),
 * memory at most a small multiple of the input. Texts of 2 GiB and more are refused. */
#ifndef SAFE_SCRIPT_JSON_H
#define SAFE_SCRIPT_JSON_H

#include "frames.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_error {
    size_t offset, line, column; /* line and column from 1, column in bytes */
    const char *reason;          /* "duplicate key", "expected ',' or '}'" */
};

/* A value inside a text that json_check() has passed: a span of that text. */
struct json_value {
    enum json_type type;
    struct span text; /* as written, quotes and brackets included, no white space around it */
};

/* Checks a whole text and gives its one value. Returns 0, or -1 with *error (ENOMEM counts: reason "out of memory"). */
int json_check(struct span text, struct json_value *value, struct json_error *error);

/* Walks the members of a checked object, or the elements of a checked array. Start with *at = 0. Returns false at the
 * end. key is the string as written with its quotes; NULL for arrays. */
bool json_next(const struct json_value *container, size_t *at, struct json_value *key, struct json_value *value);

/* Unescapes a checked string. Surrogate pairs become one character; lone surrogates become three bytes (WTF-8, Python's
 * "surrogatepass"). *has_surrogates says whether any was lone. Appends to out. */
void json_unescape(const struct json_value *string, struct buffer *out, bool *has_surrogates);

/* True when a checked string unescapes to exactly this ASCII text. */
bool json_is(const struct json_value *string, const char *text);

/* A checked number as an unsigned integer: true only for an integer literal without sign, fraction or exponent that
 * fits. */
bool json_u64(const struct json_value *number, uint64_t *value);

/* The strict check of a result's bytes. Returns 0, or -1 with *error. */
int json_canonical(struct span text, struct json_error *error);

/* Appends a JSON string of any bytes: invalid UTF-8 becomes U+FFFD (one for each maximal ill-formed part, as Python's
 * "replace" does), control characters are escaped. With quotes. */
void json_put_string(struct buffer *out, struct span text);

#endif
