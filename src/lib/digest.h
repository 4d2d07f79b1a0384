/* SHA-256, by the library that knows how. */
#ifndef SAFE_SCRIPT_DIGEST_H
#define SAFE_SCRIPT_DIGEST_H

#include "frames.h"

enum { DIGEST_BYTES = 32, DIGEST_HEX = 2 * DIGEST_BYTES };

void digest_sha256(struct span bytes, uint8_t digest[DIGEST_BYTES]);

/* As people write it: 64 digits, and the end. Returns text. */
char *digest_hex(const uint8_t digest[DIGEST_BYTES], char text[DIGEST_HEX + 1]);

#endif
