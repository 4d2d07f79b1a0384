#include "json.h"

#include "limit.h"
#include "scope.h"

#include <stdlib.h>
#include <string.h>

/* One key of an object that is still open. The first eight bytes stand in the key itself, so that sorting a million
 * keys seldom follows a pointer; the rest is in the text, or, for keys with escapes, unescaped at the same offset of
 * `plain`. */
struct key {
    uint64_t prefix;
    uint32_t at;
    uint32_t length : 31;
    uint32_t escaped : 1;
};

struct level {
    uint32_t first_key; /* of this object's in the key stack */
    bool is_object;
};

/* The scanner's state. `reason` is set exactly when the text has failed, at offset `at`. */
struct scanner {
    struct span text;
    size_t at;
    const char *reason;
    bool canonical;
    unsigned depth;
    struct level levels[JSON_DEPTH];
    struct key *keys, *scratch;
    size_t key_count, key_room, scratch_room;
    uint8_t *plain;
};

static bool fail(struct scanner *scanner, size_t at, const char *reason)
{
    scanner->at = at;
    scanner->reason = reason;
    return false;
}

/* The byte at the scanner's place, -1 at the end. */
static int peek(const struct scanner *scanner)
{
    return scanner->at < scanner->text.length ? scanner->text.bytes[scanner->at] : -1;
}

static bool expected(struct scanner *scanner, const char *what)
{
    return fail(scanner, scanner->at, peek(scanner) < 0 ? "unexpected end" : what);
}

static void skip_space(struct scanner *scanner)
{
    int c;
    if (scanner->canonical)
        return;
    while ((c = peek(scanner)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        scanner->at++;
}

/* --- duplicate keys ---------------------------------------------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static unsigned hex4(const uint8_t *digits)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++)
        value = value * 16 + (unsigned)hex_digit(digits[i]);
    return value;
}

/* UTF-8 of a code point; a surrogate becomes three bytes like any other. */
static size_t encode(unsigned code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(lead[length] | code);
    return length;
}

/* Decodes the checked escape at the front of `from` (a backslash) into out. Returns how many bytes of from it took. */
static size_t decode_escape(struct span from, uint8_t out[4], size_t *length, bool *lone)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const uint8_t *b = from.bytes;
    *lone = false;
    if (b[1] != 'u') {
        *length = 1;
        out[0] = (uint8_t)values[strchr(names, b[1]) - names];
        return 2;
    }
    unsigned code = hex4(b + 2), low;
    if (code >= 0xd800 && code < 0xdc00 && from.length >= 12 && b[6] == '\\' && b[7] == 'u' &&
        (low = hex4(b + 8)) >= 0xdc00 && low < 0xe000) {
        *length = encode(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00), out);
        return 12;
    }
    *lone = code >= 0xd800 && code < 0xe000;
    *length = encode(code, out);
    return 6;
}

/* Unescapes what stands between a checked string's quotes to `out`, which has room for as many bytes. */
static size_t unescape(struct span from, uint8_t *out, bool *has_surrogates)
{
    size_t used = 0;
    *has_surrogates = false;
    while (from.length) {
        const uint8_t *stop = memchr(from.bytes, '\\', from.length);
        size_t taken = stop ? (size_t)(stop - from.bytes) : from.length, length = taken;
        if (taken) {
            memcpy(out + used, from.bytes, taken);
        } else {
            bool lone;
            taken = decode_escape(from, out + used, &length, &lone);
            *has_surrogates |= lone;
        }
        used += length;
        from = (struct span){from.bytes + taken, from.length - taken};
    }
    return used;
}

static bool grow(struct key **keys, size_t *room, size_t need)
{
    size_t more = *room ? *room : 64;
    if (need <= *room)
        return true;
    while (more < need)
        more *= 2;
    struct key *grown = realloc(*keys, more * sizeof **keys);
    if (!grown)
        return false;
    *keys = grown;
    *room = more;
    return true;
}

/* Pushes the key whose inside (without quotes) is text[at … at+length). */
static bool push_key(struct scanner *scanner, size_t at, size_t length, bool escaped)
{
    const uint8_t *name = scanner->text.bytes + at;
    if (!grow(&scanner->keys, &scanner->key_room, scanner->key_count + 1))
        return fail(scanner, at, "out of memory");
    if (escaped) {
        if (!scanner->plain && !(scanner->plain = malloc(scanner->text.length)))
            return fail(scanner, at, "out of memory");
        bool lone;
        length = unescape((struct span){name, length}, scanner->plain + at, &lone);
        name = scanner->plain + at;
    }
    uint64_t prefix = 0;
    for (size_t i = 0; i < sizeof prefix; i++)
        prefix = prefix << 8 | (i < length ? name[i] : 0);
    scanner->keys[scanner->key_count++] =
        (struct key){.prefix = prefix, .at = (uint32_t)at, .length = (uint32_t)length & 0x7fffffff, .escaped = escaped};
    return true;
}

static int compare_keys(const struct scanner *scanner, const struct key *a, const struct key *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    size_t common = a->length < b->length ? a->length : b->length;
    if (common > sizeof a->prefix) {
        const uint8_t *left = (a->escaped ? scanner->plain : scanner->text.bytes) + a->at;
        const uint8_t *right = (b->escaped ? scanner->plain : scanner->text.bytes) + b->at;
        int order = memcmp(left + sizeof a->prefix, right + sizeof a->prefix, common - sizeof a->prefix);
        if (order)
            return order;
    }
    return a->length == b->length ? 0 : a->length < b->length ? -1 : 1;
}

/* Stable merge sort, so that of two equal keys the later one in the text comes second. Not qsort(): its worst case,
 * memory and system calls depend on the libc. */
static bool sort_keys(struct scanner *scanner, struct key *keys, size_t count)
{
    if (count < 2)
        return true;
    if (!grow(&scanner->scratch, &scanner->scratch_room, count))
        return false;
    struct key *from = keys, *to = scanner->scratch;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t left = start, middle = start + width < count ? start + width : count;
            size_t right = middle, end = middle + width < count ? middle + width : count;
            for (size_t i = start; i < end; i++) {
                bool take_left =
                    right == end || (left < middle && compare_keys(scanner, &from[left], &from[right]) <= 0);
                to[i] = take_left ? from[left++] : from[right++];
            }
        }
        struct key *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys)
        memcpy(keys, from, count * sizeof *keys);
    return true;
}

/* Pops the keys of the object that closes, which must all differ. */
static bool pop_keys(struct scanner *scanner, size_t first)
{
    if (scanner->key_count == first)
        return true;
    struct key *keys = scanner->keys + first;
    size_t count = scanner->key_count - first, duplicate = SIZE_MAX;
    scanner->key_count = first;
    if (!sort_keys(scanner, keys, count))
        return fail(scanner, scanner->at, "out of memory");
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(scanner, &keys[i - 1], &keys[i]) == 0 && keys[i].at < duplicate)
            duplicate = keys[i].at;
    }
    return duplicate == SIZE_MAX || fail(scanner, duplicate - 1, "duplicate key");
}

/* --- the scanner ------------------------------------------------------------------------------------------------- */

/* The canonical text has the short escapes, \u00xx for the other control characters and \udxxx for surrogates. */
static bool canonical_escape(const uint8_t *b)
{
    if (b[1] != 'u')
        return b[1] != '/';
    for (int i = 2; i < 6; i++) {
        if (b[i] >= 'A' && b[i] <= 'F')
            return false;
    }
    unsigned code = hex4(b + 2);
    return (code < 0x20 && !(code >= '\b' && code <= '\r' && code != '\v')) || (code >= 0xd800 && code < 0xe000);
}

static bool scan_escape(struct scanner *scanner)
{
    const uint8_t *b = scanner->text.bytes + scanner->at;
    size_t left = scanner->text.length - scanner->at, length = 2;
    if (left < 2)
        return fail(scanner, scanner->text.length, "unexpected end");
    if (b[1] == 'u') {
        for (length = 2; length < 6 && length < left && hex_digit(b[length]) >= 0; length++)
            ;
        if (length < 6 && length == left)
            return fail(scanner, scanner->text.length, "unexpected end");
        if (length < 6)
            return fail(scanner, scanner->at, "invalid escape");
    } else if (!b[1] || !strchr("\"\\/bfnrt", b[1])) {
        return fail(scanner, scanner->at, "invalid escape");
    }
    if (scanner->canonical && !canonical_escape(b))
        return fail(scanner, scanner->at, "escape is not canonical");
    scanner->at += length;
    return true;
}

/* A string, from its opening quote to past its closing one. */
static bool scan_string(struct scanner *scanner, bool *escaped)
{
    *escaped = false;
    scanner->at++;
    for (;;) {
        int c = peek(scanner);
        if (c < 0)
            return fail(scanner, scanner->at, "unexpected end");
        if (c == '"') {
            scanner->at++;
            return true;
        }
        if (c == '\\') {
            *escaped = true;
            if (!scan_escape(scanner))
                return false;
        } else if (c < 0x20) {
            return fail(scanner, scanner->at, "control character in a string");
        } else if (c < 0x80) {
            scanner->at++;
        } else {
            bool valid;
            size_t step =
                utf8_step((struct span){scanner->text.bytes + scanner->at, scanner->text.length - scanner->at}, &valid);
            if (!valid)
                return fail(scanner, scanner->at, "invalid UTF-8");
            scanner->at += step;
        }
    }
}

static bool scan_digits(struct scanner *scanner)
{
    size_t start = scanner->at;
    int c;
    while ((c = peek(scanner)) >= '0' && c <= '9')
        scanner->at++;
    return scanner->at > start || expected(scanner, "invalid number");
}

static bool scan_number(struct scanner *scanner)
{
    if (peek(scanner) == '-')
        scanner->at++;
    if (peek(scanner) == '0')
        scanner->at++;
    else if (!scan_digits(scanner))
        return false;
    if (peek(scanner) == '.') {
        scanner->at++;
        if (!scan_digits(scanner))
            return false;
    }
    if (peek(scanner) == 'e' || peek(scanner) == 'E') {
        scanner->at++;
        if (peek(scanner) == '+' || peek(scanner) == '-')
            scanner->at++;
        if (!scan_digits(scanner))
            return false;
    }
    int c = peek(scanner);
    return !(c >= '0' && c <= '9') || fail(scanner, scanner->at, "invalid number");
}

static bool scan_scalar(struct scanner *scanner)
{
    static const char *const literals[] = {"null", "true", "false"};
    int c = peek(scanner);
    bool escaped;
    if (c == '"')
        return scan_string(scanner, &escaped);
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(scanner);
    for (size_t i = 0; i < COUNT(literals); i++) {
        size_t length = strlen(literals[i]), left = scanner->text.length - scanner->at;
        if (c == literals[i][0] && left >= length &&
            memcmp(scanner->text.bytes + scanner->at, literals[i], length) == 0) {
            scanner->at += length;
            return true;
        }
    }
    return expected(scanner, "expected a value");
}

/* A key and its colon. */
static bool scan_key(struct scanner *scanner)
{
    bool escaped;
    skip_space(scanner);
    if (peek(scanner) != '"')
        return expected(scanner, "expected a key");
    size_t start = scanner->at + 1;
    if (!scan_string(scanner, &escaped) || !push_key(scanner, start, scanner->at - 1 - start, escaped))
        return false;
    skip_space(scanner);
    if (peek(scanner) != ':')
        return expected(scanner, "expected ':'");
    scanner->at++;
    return true;
}

/* The bracket at the scanner's place closes the innermost container. */
static bool close_level(struct scanner *scanner)
{
    const struct level *level = &scanner->levels[scanner->depth - 1];
    if (level->is_object && !pop_keys(scanner, level->first_key))
        return false;
    scanner->depth--;
    scanner->at++;
    return true;
}

/* Opens the container at the scanner's place; an empty one is closed at once, which *whole tells. */
static bool open_level(struct scanner *scanner, bool *whole)
{
    bool is_object = peek(scanner) == '{';
    if (scanner->depth == JSON_DEPTH)
        return fail(scanner, scanner->at, "nested too deeply (more than 800 levels)");
    scanner->levels[scanner->depth++] =
        (struct level){.first_key = (uint32_t)scanner->key_count, .is_object = is_object};
    scanner->at++;
    skip_space(scanner);
    *whole = peek(scanner) == (is_object ? '}' : ']');
    return *whole ? close_level(scanner) : !is_object || scan_key(scanner);
}

/* After a value: closes what ends here. *more: the next value follows, else the whole text's value has ended. */
static bool after_value(struct scanner *scanner, bool *more)
{
    while (scanner->depth) {
        bool is_object = scanner->levels[scanner->depth - 1].is_object;
        skip_space(scanner);
        if (peek(scanner) == ',') {
            scanner->at++;
            *more = true;
            return !is_object || scan_key(scanner);
        }
        if (peek(scanner) != (is_object ? '}' : ']'))
            return expected(scanner, is_object ? "expected ',' or '}'" : "expected ',' or ']'");
        if (!close_level(scanner))
            return false;
    }
    *more = false;
    return true;
}

static bool scan_value(struct scanner *scanner)
{
    for (bool more = true; more;) {
        bool whole = true;
        skip_space(scanner);
        int c = peek(scanner);
        if (!(c == '{' || c == '[' ? open_level(scanner, &whole) : scan_scalar(scanner)))
            return false;
        if (whole && !after_value(scanner, &more))
            return false;
    }
    return true;
}

static bool scan_text(struct scanner *scanner, struct span *value)
{
    struct span text = scanner->text;
    _Static_assert(JSON_DEPTH == 800, "the wording of the depth error");
    if (text.length > INT32_MAX)
        return fail(scanner, 0, "too long");
    if (text.length >= 3 && memcmp(text.bytes, "\xef\xbb\xbf", 3) == 0)
        return fail(scanner, 0, "starts with a byte-order mark");
    skip_space(scanner);
    size_t start = scanner->at;
    if (scanner->canonical && peek(scanner) != '{')
        return expected(scanner, "expected '{'");
    if (!scan_value(scanner))
        return false;
    *value = (struct span){text.bytes + start, scanner->at - start};
    skip_space(scanner);
    return scanner->at == text.length || fail(scanner, scanner->at, "unexpected text after the value");
}

/* Where the scanner failed, for people. */
static void locate(const struct scanner *scanner, struct json_error *error)
{
    *error = (struct json_error){.offset = scanner->at, .line = 1, .column = 1, .reason = scanner->reason};
    for (size_t i = 0; i < scanner->at; i++) {
        error->column++;
        if (scanner->text.bytes[i] == '\n') {
            error->line++;
            error->column = 1;
        }
    }
}

static int scan(struct span text, bool canonical, struct span *value, struct json_error *error)
{
    struct scanner scanner = {.text = text, .canonical = canonical};
    bool passed = scan_text(&scanner, value);
    free(scanner.keys);
    free(scanner.scratch);
    free(scanner.plain);
    if (!passed)
        locate(&scanner, error);
    return passed ? 0 : -1;
}

static struct json_value value_of(struct span text)
{
    static const struct {
        char first;
        enum json_type type;
    } types[] = {{'n', JSON_NULL},   {'f', JSON_FALSE}, {'t', JSON_TRUE},
                 {'"', JSON_STRING}, {'[', JSON_ARRAY}, {'{', JSON_OBJECT}};
    for (size_t i = 0; i < COUNT(types); i++) {
        if (text.bytes[0] == (uint8_t)types[i].first)
            return (struct json_value){types[i].type, text};
    }
    return (struct json_value){JSON_NUMBER, text};
}

int json_check(struct span text, struct json_value *value, struct json_error *error)
{
    struct span span;
    if (scan(text, false, &span, error) < 0)
        return -1;
    *value = value_of(span);
    return 0;
}

int json_canonical(struct span text, struct json_error *error)
{
    struct span span;
    return scan(text, true, &span, error);
}

/* --- what has passed --------------------------------------------------------------------------------------------- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where the checked string that starts at `at` ends. */
static size_t string_end(struct span text, size_t at)
{
    for (at++; text.bytes[at] != '"'; at++) {
        if (text.bytes[at] == '\\')
            at++;
    }
    return at + 1;
}

/* Where the checked value that starts at `at` ends. */
static size_t value_end(struct span text, size_t at)
{
    size_t depth = 0;
    if (text.bytes[at] != '"' && text.bytes[at] != '{' && text.bytes[at] != '[') {
        while (!is_space(text.bytes[at]) && !strchr(",]}", text.bytes[at]))
            at++;
        return at;
    }
    do {
        uint8_t c = text.bytes[at];
        if (c == '"') {
            at = string_end(text, at);
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
    } while (depth);
    return at;
}

static void skip_between(struct span text, size_t *at)
{
    while (is_space(text.bytes[*at]) || text.bytes[*at] == ',' || text.bytes[*at] == ':')
        (*at)++;
}

bool json_next(const struct json_value *container, size_t *at, struct json_value *key, struct json_value *value)
{
    struct span text = container->text;
    if (*at == 0)
        *at = 1;
    skip_between(text, at);
    if (*at == text.length - 1)
        return false;
    if (container->type == JSON_OBJECT) {
        size_t end = string_end(text, *at);
        *key = (struct json_value){JSON_STRING, {text.bytes + *at, end - *at}};
        *at = end;
        skip_between(text, at);
    }
    size_t end = value_end(text, *at);
    *value = value_of((struct span){text.bytes + *at, end - *at});
    *at = end;
    return true;
}

void json_unescape(const struct json_value *string, struct buffer *out, bool *has_surrogates)
{
    struct span inside = {string->text.bytes + 1, string->text.length - 2};
    uint8_t *plain = malloc(string->text.length);
    *has_surrogates = false;
    if (!plain) {
        out->failed = true;
        return;
    }
    buffer_append(out, plain, unescape(inside, plain, has_surrogates));
    free(plain);
}

bool json_is(const struct json_value *string, const char *text)
{
    struct span from = {string->text.bytes + 1, string->text.length - 2};
    for (; from.length; text++) {
        uint8_t piece[4] = {from.bytes[0]};
        size_t length = 1, taken = 1;
        bool lone;
        if (from.bytes[0] == '\\')
            taken = decode_escape(from, piece, &length, &lone);
        if (length != 1 || !*text || piece[0] != (uint8_t)*text)
            return false;
        from = (struct span){from.bytes + taken, from.length - taken};
    }
    return !*text;
}

bool json_u64(const struct json_value *number, uint64_t *value)
{
    *value = 0;
    if (number->type != JSON_NUMBER)
        return false;
    for (size_t i = 0; i < number->text.length; i++) {
        uint8_t c = number->text.bytes[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(c - '0'), value))
            return false;
    }
    return true;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static void put_escape(struct buffer *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = "\"\\bfnrt", values[] = "\"\\\b\f\n\r\t";
    const char *known = c ? strchr(values, c) : NULL;
    if (known)
        buffer_append(out, (char[]){'\\', names[known - values]}, 2);
    else
        buffer_append(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

void json_put_string(struct buffer *out, struct span text)
{
    size_t start = 0, at = 0; /* what stands between them goes out as it is */
    buffer_append(out, "\"", 1);
    while (at < text.length) {
        uint8_t c = text.bytes[at];
        bool valid = true, plain = c >= 0x20 && c != '"' && c != '\\';
        size_t step = c < 0x80 ? 1 : utf8_step((struct span){text.bytes + at, text.length - at}, &valid);
        if (!plain || !valid) {
            buffer_append(out, text.bytes + start, at - start);
            start = at + step;
        }
        if (!plain)
            put_escape(out, c);
        else if (!valid)
            buffer_append(out, "\xef\xbf\xbd", 3);
        at += step;
    }
    if (at > start)
        buffer_append(out, text.bytes + start, at - start);
    buffer_append(out, "\"", 1);
}
