#include "text.h"

#include <string.h>

size_t utf8_step(struct span from, bool *valid)
{
    const uint8_t *b = from.bytes;
    uint8_t low = 0x80, high = 0xbf;
    size_t length = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf5 ? 4 : 0, n = 1;
    if (b[0] == 0xe0)
        low = 0xa0;
    else if (b[0] == 0xed)
        high = 0x9f;
    else if (b[0] == 0xf0)
        low = 0x90;
    else if (b[0] == 0xf4)
        high = 0x8f;
    while (n < length && n < from.length && b[n] >= low && b[n] <= high) {
        low = 0x80;
        high = 0xbf;
        n++;
    }
    *valid = n == length;
    return n;
}

size_t utf8_prefix(struct span text)
{
    size_t at = 0;
    while (at < text.length) {
        bool valid;
        size_t step = utf8_step((struct span){text.bytes + at, text.length - at}, &valid);
        if (!valid)
            return at;
        at += step;
    }
    return at;
}

struct span utf8_uncut(struct span text)
{
    for (size_t back = 1; back <= 3 && back <= text.length; back++) {
        struct span tail = {text.bytes + text.length - back, back};
        bool valid;
        if ((tail.bytes[0] & 0xc0) == 0x80)
            continue;
        /* A lead byte: only what could still have become a character is left out. */
        if (tail.bytes[0] >= 0xc2 && tail.bytes[0] < 0xf5 && utf8_step(tail, &valid) == back && !valid)
            text.length -= back;
        break;
    }
    return text;
}

char *text_hex(const uint8_t *bytes, size_t count, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = 0;
    return text;
}

struct span text_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

size_t text_one_line(char *text, size_t size, struct span from)
{
    static const char ellipsis[] = "…", replacement[] = "\xef\xbf\xbd";
    size_t used = 0, cut = 0; /* cut: where the text ends if the ellipsis has to follow */
    while (from.length) {
        bool valid;
        size_t taken = utf8_step(from, &valid), length = taken;
        const char *piece = (const char *)from.bytes;
        if (!valid) {
            piece = replacement;
            length = 3;
            taken = 1;
        } else if (taken == 1 && (*piece < 0x20 || *piece == 0x7f)) {
            piece = " ";
        } else if (taken == 2 && (uint8_t)piece[0] == 0xc2 && (uint8_t)piece[1] < 0xa0) {
            piece = " "; /* C1 controls */
            length = 1;
        }
        if (used + length + 1 > size) {
            memcpy(text + cut, ellipsis, sizeof ellipsis);
            return cut + sizeof ellipsis - 1;
        }
        memcpy(text + used, piece, length);
        used += length;
        if (used + sizeof ellipsis <= size)
            cut = used;
        from.bytes += taken;
        from.length -= taken;
    }
    text[used] = 0;
    return used;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct span text, struct buffer *out)
{
    size_t padding = 0;
    if (text.length % 4)
        return -1;
    while (padding < 2 && padding < text.length && text.bytes[text.length - 1 - padding] == '=')
        padding++;
    for (size_t at = 0; at < text.length; at += 4) {
        size_t kept = at + 4 < text.length ? 4 : 4 - padding;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            int digit = i < kept ? base64_digit(text.bytes[at + i]) : 0;
            if (digit < 0)
                return -1;
            bits = bits << 6 | (uint32_t)digit;
        }
        /* Bits that no byte takes must be zero: one text for one content. */
        if (bits & ((UINT32_C(1) << (8 * (4 - kept))) - 1))
            return -1;
        buffer_append(out, (uint8_t[]){(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits}, kept - 1);
    }
    return 0;
}

void base64_encode(struct span bytes, struct buffer *out)
{
    for (size_t at = 0; at < bytes.length; at += 3) {
        size_t left = bytes.length - at;
        uint32_t bits = (uint32_t)bytes.bytes[at] << 16;
        if (left > 1)
            bits |= (uint32_t)bytes.bytes[at + 1] << 8;
        if (left > 2)
            bits |= bytes.bytes[at + 2];
        buffer_append(out,
                      (char[]){base64_digits[bits >> 18], base64_digits[bits >> 12 & 63],
                               left > 1 ? base64_digits[bits >> 6 & 63] : '=',
                               left > 2 ? base64_digits[bits & 63] : '='},
                      4);
    }
}
