#include "key.h"

#include "frames.h"
#include "text.h"

#include <nettle/memops.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

static const char prefix[] = "ss_";

int key_draw(char text[KEY_TEXT_BYTES + 1])
{
    enum { RANDOM_BYTES = 32, PREFIX = sizeof prefix - 1 };
    uint8_t random[RANDOM_BYTES];
    struct buffer digits = {0};
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -1;
    base64_encode((struct span){random, sizeof random}, &digits);
    explicit_bzero(random, sizeof random);
    bool whole = !digits.failed && digits.length >= KEY_TEXT_BYTES - PREFIX;
    memcpy(text, prefix, PREFIX);
    for (size_t i = PREFIX; whole && i < KEY_TEXT_BYTES; i++) {
        char digit = (char)digits.bytes[i - PREFIX]; /* the "=" at the end stays behind */
        text[i] = digit == '+' ? '-' : digit;
        text[i] = digit == '/' ? '_' : text[i];
    }
    text[KEY_TEXT_BYTES] = 0;
    buffer_free(&digits);
    return whole ? 0 : -1;
}

const struct key *key_find(const struct key *keys, size_t count, const uint8_t hash[DIGEST_BYTES])
{
    size_t found = count;
    for (size_t i = 0; i < count; i++) {
        size_t same = (size_t)memeql_sec(keys[i].hash, hash, DIGEST_BYTES);
        found = same * i + (1 - same) * found;
    }
    return found < count ? &keys[found] : NULL;
}

static bool is_one_of(char c, const char *others)
{
    char letter = (char)(c | 0x20);
    return (c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z') || (c && strchr(others, c));
}

bool key_id_fine(const char *id)
{
    size_t length = 0;
    while (is_one_of(id[length], "._-"))
        length++;
    return length > 0 && length <= KEY_ID_BYTES && !id[length];
}

const char *key_offered(const char *authorization, size_t *length)
{
    static const char scheme[] = "Bearer";
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *text = authorization + sizeof scheme - 1;
    size_t spaces = strspn(text, " ");
    text += spaces;
    *length = 0;
    while (is_one_of(text[*length], "-._~+/="))
        ++*length;
    return spaces && *length && *length <= KEY_OFFERED_MOST && !text[*length] ? text : NULL;
}
