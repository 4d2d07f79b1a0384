#include "digest.h"

#include "text.h"

#include <nettle/sha2.h>

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_SIZE, "the same");

void digest_sha256(struct span bytes, uint8_t digest[DIGEST_BYTES])
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, bytes.length, bytes.bytes);
    sha256_digest(&context, DIGEST_BYTES, digest);
}

char *digest_hex(const uint8_t digest[DIGEST_BYTES], char text[DIGEST_HEX + 1])
{
    text_hex(digest, DIGEST_BYTES, text);
    return text;
}
