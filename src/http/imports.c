#include "imports.h"

#include "scope.h"

#include <stdbool.h>
#include <string.h>

enum { LOOKED_AT = 64 << 10 };

/* What is left to look at. */
struct text {
    const uint8_t *at, *end;
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\f';
}

/* Bytes of other alphabets are letters, as to Python. */
static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || byte >= 0x80;
}

static void skip_blanks(struct text *text)
{
    while (text->at < text->end && is_blank(*text->at))
        text->at++;
}

static struct span next_word(struct text *text)
{
    skip_blanks(text);
    struct span word = {text->at, 0};
    while (text->at < text->end && is_letter(*text->at))
        text->at++;
    word.length = (size_t)(text->at - word.bytes);
    return word;
}

static bool word_is(struct span word, const char *text)
{
    return word.length == strlen(text) && memcmp(word.bytes, text, word.length) == 0;
}

/* Which of an environment's modules this is: a bit of its own for each, the last one's for all further; 0: none. */
static uint64_t bit_of(const struct environment_offer *offer, struct span word)
{
    uint64_t bit = 1;
    for (const char *at = offer->modules; *at; at += *at == ' ') {
        size_t length = strcspn(at, " ");
        if (length == word.length && memcmp(at, word.bytes, length) == 0)
            return bit;
        at += length;
        bit = bit << 1 ? bit << 1 : bit;
    }
    return 0;
}

struct found {
    const struct environment_offers *offers;
    uint64_t modules[ENVIRONMENT_ROWS];
};

static void note(struct found *found, struct span word)
{
    for (size_t i = 0; i < ENVIRONMENT_ROWS && word.length; i++) {
        if (found->offers->rows[i].warmer)
            found->modules[i] |= bit_of(&found->offers->rows[i], word);
    }
}

/* What follows "import": "a.b as c, d". */
static void take_list(struct found *found, struct text *text)
{
    do {
        note(found, next_word(text));
        while (text->at < text->end && *text->at != ',' && *text->at != ';' && *text->at != '\n' && *text->at != '\r')
            text->at++;
    } while (text->at < text->end && *text->at == ',' && text->at++);
}

static void look(struct found *found, struct text *text)
{
    while (text->at < text->end) {
        struct span word = next_word(text);
        if (word_is(word, "import"))
            take_list(found, text);
        else if (word_is(word, "from"))
            note(found, next_word(text));
        /* The next statement: on a new line, after a semicolon, after "if x:" */
        while (text->at < text->end && *text->at != '\n' && *text->at != '\r' && *text->at != ';' && *text->at != ':')
            text->at++;
        text->at += text->at < text->end;
    }
}

static unsigned count_modules(const struct environment_offer *offer)
{
    unsigned count = 0;
    for (const char *at = offer->modules; *at; at++)
        count += *at == ' ';
    return count;
}

/* Whether it has more of the script's imports, or as many, and less that the script has no use for. */
static bool is_better(const struct found *found, uint32_t row, uint32_t than)
{
    int has = __builtin_popcountll(found->modules[row]), other = __builtin_popcountll(found->modules[than]);
    const struct environment_offer *rows = found->offers->rows;
    return has > other || (has && has == other && count_modules(&rows[row]) < count_modules(&rows[than]));
}

uint32_t imports_choose(struct span source, const struct environment_offers *offers)
{
    struct found found = {.offers = offers};
    struct text text = {source.bytes, source.bytes + (source.length < LOOKED_AT ? source.length : LOOKED_AT)};
    uint32_t best = ENVIRONMENT_DEFAULT;
    bool any = false;
    for (size_t i = 0; i < ENVIRONMENT_ROWS; i++)
        any |= offers->rows[i].warmer;
    if (!any || !source.length)
        return best;
    look(&found, &text);
    for (uint32_t i = 0; i < ENVIRONMENT_ROWS; i++) {
        if (is_better(&found, i, best))
            best = i;
    }
    return best;
}
