/* Text that strangers and scripts wrote: UTF-8 and base64. Pure; trusts no byte. */
#ifndef SAFE_SCRIPT_TEXT_H
#define SAFE_SCRIPT_TEXT_H

#include "frames.h"

#include <stdbool.h>
#include <stddef.h>

/* Length of the UTF-8 character at the front of a text that is not empty (RFC 3629: nothing overlong, no surrogates),
 * or, with *valid false, of the maximal ill-formed part there. */
size_t utf8_step(struct span from, bool *valid);

/* Length of the longest valid UTF-8 prefix: text.length when all of it is valid, else the offset of what is not. */
size_t utf8_prefix(struct span text);

/* The text without an incomplete character at its end, as it is left where a limit cut it; other faults stay. */
struct span utf8_uncut(struct span text);

/* Two digits for each byte, and the end: text has 2 * count + 1 bytes. Returns where the end is. (By printf() the ids
 * and hashes of one request were a quarter of the front's instructions.) */
char *text_hex(const uint8_t *bytes, size_t count, char *text);

/* The bytes of a C string. */
struct span text_span(const char *text);

/* Standard base64 with padding, nothing else allowed, no bits that mean nothing. Returns 0, or -1 when it is not. */
int base64_decode(struct span text, struct buffer *out);
void base64_encode(struct span bytes, struct buffer *out);

/* Copies bytes as one line of valid UTF-8: invalid bytes become U+FFFD, control characters a space; cut at a character
 * boundary with "…" when it does not fit. Always terminated. Returns the length. */
size_t text_one_line(char *text, size_t size, struct span from);

#endif
