/* peek.c, fed what a stranger may send first. Whatever the bytes and the pieces they come in (the first byte says how
 * long those are), the verdict is the same; what is refused has its words; and what passes has none of the bytes that
 * readers of HTTP disagree on. */
#include "fuzz.h"

#include "peek.h"

#include <string.h>

static enum peek_verdict feed(struct peek *peek, struct span bytes, size_t piece)
{
    enum peek_verdict verdict = PEEK_INCOMPLETE;
    *peek = (struct peek){0};
    for (size_t at = 0; at < bytes.length && verdict == PEEK_INCOMPLETE; at += piece) {
        size_t left = bytes.length - at;
        verdict = peek_feed(peek, (struct span){bytes.bytes + at, left < piece ? left : piece});
    }
    return verdict;
}

static void check_fine(struct span head)
{
    must(head.length <= HEAD_BYTES && head.length >= strlen("A / HTTP/1.0\r\n\r\n"));
    must(memcmp(head.bytes + head.length - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < head.length; i++) {
        uint8_t c = head.bytes[i];
        must((c >= 0x20 && c != 0x7f) || c == '\t' || c == '\r' || c == '\n');
        must((c == '\r') == (i + 1 < head.length && head.bytes[i + 1] == '\n'));
        must(c != '\n' || (i > 0 && head.bytes[i - 1] == '\r'));
        must(c != '\n' || i + 1 == head.length || (head.bytes[i + 1] != ' ' && head.bytes[i + 1] != '\t'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct peek whole, pieces;
    if (length == 0)
        return 0;
    struct span text = {bytes + 1, length - 1};
    enum peek_verdict verdict = feed(&whole, text, text.length + 1);
    must(feed(&pieces, text, 1 + (size_t)bytes[0]) == verdict);
    must(pieces.length == whole.length && pieces.http == whole.http && pieces.text == whole.text);
    must(pieces.problem == whole.problem && pieces.head_only == whole.head_only);
    must(whole.length <= text.length && (verdict != PEEK_INCOMPLETE || whole.length == text.length));
    must((verdict == PEEK_REFUSE) == (whole.http >= 400 && whole.http < 600 && whole.text));
    if (verdict == PEEK_FINE)
        check_fine((struct span){text.bytes, whole.length});
    else
        must(whole.length <= HEAD_BYTES + 1);
    return 0;
}
