#include "peek.h"

#include "scope.h"

#include <string.h>

enum state {
    AT_START,
    AT_START_LF, /* RFC 9112, 2.2: one empty line before the first is forgiven */
    AT_METHOD_START,
    IN_METHOD,
    IN_TARGET,
    IN_VERSION,
    AT_LINE_LF,
    AT_FIELD, /* a line's first byte */
    IN_NAME,
    IN_VALUE,
    BEFORE_LENGTH,
    IN_LENGTH,
    AT_END_LF,
};

enum field { FIELD_OTHER, FIELD_HOST, FIELD_COOKIE, FIELD_LENGTH, FIELD_ENCODING };

static const struct {
    const char *name;
    enum field field;
} fields[] = {
    {"host", FIELD_HOST},
    {"cookie", FIELD_COOKIE},
    {"content-length", FIELD_LENGTH},
    {"transfer-encoding", FIELD_ENCODING},
};

#define MALFORMED    "malformed request: "
#define REQUEST_LINE MALFORMED "the request line is not METHOD, one space, path, one space, HTTP/1.1"
#define LINE_END     MALFORMED "a line of the head is not ended by CR LF"
#define TOO_LONG     "the request's headers are longer than the limit of 16 KiB"
#define TOO_MANY     "the request has too many headers, cookies or query parameters"
#define BAD_LENGTH   MALFORMED "Content-Length is not a decimal number of bytes"

_Static_assert(HEAD_BYTES == 16 * 1024, "TOO_LONG says so");

static enum peek_verdict refuse(struct peek *peek, uint16_t http, const char *text)
{
    peek->http = http;
    peek->text = text;
    return PEEK_REFUSE;
}

static enum peek_verdict go(struct peek *peek, enum state state)
{
    peek->state = (uint8_t)state;
    return PEEK_INCOMPLETE;
}

/* RFC 9110's tchar. */
static bool is_token(uint8_t c)
{
    uint8_t letter = c | 0x20;
    if ((c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c);
}

/* One byte more of what the caller keeps; a word too long for any that we know is none of them. */
static void word_add(struct peek *peek, uint8_t c)
{
    if (peek->word_length < sizeof peek->word)
        peek->word[peek->word_length] = (char)c;
    if (peek->word_length < UINT8_MAX)
        peek->word_length++;
}

static bool word_is(const struct peek *peek, const char *text)
{
    return strlen(text) == peek->word_length && memcmp(text, peek->word, peek->word_length) == 0;
}

/* ---- the request line ---- */

static enum peek_verdict on_start(struct peek *peek, uint8_t c)
{
    if (c == 0x16) /* a handshake record */
        return refuse(peek, 400, "this port speaks plain HTTP, not TLS");
    if (!is_token(c))
        return refuse(peek, 400, REQUEST_LINE);
    word_add(peek, c);
    return go(peek, IN_METHOD);
}

static enum peek_verdict on_method(struct peek *peek, uint8_t c)
{
    if (c == ' ') {
        peek->head_only = word_is(peek, "HEAD");
        return go(peek, IN_TARGET);
    }
    if (c == '\r' || c == '\n')
        return refuse(peek, 400, REQUEST_LINE);
    if (!is_token(c))
        return refuse(peek, 400, MALFORMED "the method is not a token");
    if (peek->word_length >= METHOD_BYTES)
        return refuse(peek, 400, MALFORMED "the method is too long");
    word_add(peek, c);
    return PEEK_INCOMPLETE;
}

/* Finds the path in an origin's or an absolute target, and whether it is one of the whole face. */
static void match_path(struct peek *peek, uint8_t c)
{
    static const char scheme[] = "http://", prefix[] = "/v1/";
    enum { SCHEME = sizeof scheme - 1, HTTP = 4, PREFIX = sizeof prefix - 1, NO_MATCH = UINT8_MAX };
    if (peek->scheme < SCHEME) {
        uint8_t lower = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
        bool more = lower == (uint8_t)scheme[peek->scheme];
        if (peek->target_length == HTTP && peek->scheme == HTTP && lower == 's') /* https:// */
            return;
        peek->scheme = more ? peek->scheme + 1 : NO_MATCH;
        if (more)
            return;
    } else if (peek->scheme == SCHEME) { /* in the authority, until its end */
        if (c != '/' && c != '?')
            return;
        peek->scheme = NO_MATCH;
    }
    if (peek->prefix < PREFIX)
        peek->prefix = c == (uint8_t)prefix[peek->prefix] ? peek->prefix + 1 : NO_MATCH;
    if (peek->prefix == PREFIX)
        peek->problem = true;
}

static enum peek_verdict on_target(struct peek *peek, uint8_t c)
{
    if (c == ' ' && peek->target_length) {
        bool preface = peek->target_length == 1 && word_is(peek, "PRI"); /* as RFC 9113 has it, no method but this */
        peek->word_length = 0;
        return preface ? refuse(peek, 400, "this port speaks HTTP/1.1, not HTTP/2") : go(peek, IN_VERSION);
    }
    if (c <= ' ' || c >= 0x7f)
        return refuse(peek, 400, REQUEST_LINE);
    match_path(peek, c);
    peek->target_length++;
    if (peek->query_length || c == '?')
        peek->query_length++;
    if (c == '?' || c == '&')
        peek->memory += HEAD_ITEM;
    if (peek->target_length > URI_BYTES || peek->query_length > QUERY_BYTES)
        return refuse(peek, 414, "the request's path or query is too long");
    return PEEK_INCOMPLETE;
}

static enum peek_verdict on_version(struct peek *peek, uint8_t c)
{
    static const char form[] = "HTTP/1.0"; /* digits stand for digits */
    uint8_t at = peek->word_length++;
    if (at == sizeof form - 1)
        return c == '\r' ? go(peek, AT_LINE_LF) : refuse(peek, 400, REQUEST_LINE);
    bool digit = form[at] == '0' || form[at] == '1';
    if (digit ? c < '0' || c > '9' : c != (uint8_t)form[at])
        return refuse(peek, 400, REQUEST_LINE);
    if (form[at] == '1' && c != '1')
        return refuse(peek, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    peek->version_minor = (uint8_t)(c - '0'); /* the last one stays */
    return PEEK_INCOMPLETE;
}

/* ---- the header lines ---- */

static enum peek_verdict on_field(struct peek *peek, uint8_t c)
{
    if (c == '\r')
        return go(peek, AT_END_LF);
    if (c == '\n')
        return refuse(peek, 400, LINE_END);
    if (c == ' ' || c == '\t')
        return refuse(peek, 400, MALFORMED "a header line is folded");
    if (!is_token(c))
        return refuse(peek, 400, MALFORMED "a header's name is not a token");
    peek->word_length = 0;
    peek->memory += HEAD_ITEM;
    word_add(peek, c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    return go(peek, IN_NAME);
}

static enum peek_verdict on_name_end(struct peek *peek)
{
    enum field field = FIELD_OTHER;
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (word_is(peek, fields[i].name))
            field = fields[i].field;
    }
    peek->field = (uint8_t)field;
    if (field == FIELD_ENCODING)
        return refuse(peek, 411, "Transfer-Encoding is not accepted: send the body's Content-Length");
    if (field == FIELD_HOST && peek->has_host)
        return refuse(peek, 400, MALFORMED "the header Host stands there twice");
    if (field == FIELD_LENGTH && peek->has_length)
        return refuse(peek, 400, MALFORMED "the header Content-Length stands there twice");
    peek->has_host |= field == FIELD_HOST;
    peek->has_length |= field == FIELD_LENGTH;
    return go(peek, field == FIELD_LENGTH ? BEFORE_LENGTH : IN_VALUE);
}

static enum peek_verdict on_name(struct peek *peek, uint8_t c)
{
    if (c == ':')
        return on_name_end(peek);
    if (c == '\r' || c == '\n')
        return refuse(peek, 400, MALFORMED "a header line has no colon");
    if (!is_token(c))
        return refuse(peek, 400, MALFORMED "a header's name is not a token");
    word_add(peek, c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    return PEEK_INCOMPLETE;
}

static enum peek_verdict on_value(struct peek *peek, uint8_t c)
{
    if (c == '\r')
        return go(peek, AT_LINE_LF);
    if (c == '\n')
        return refuse(peek, 400, LINE_END);
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return refuse(peek, 400, MALFORMED "a header's value holds a control character");
    if (peek->field == FIELD_COOKIE) /* libmicrohttpd copies them, and makes a list */
        peek->memory += c == ';' || c == ',' ? 1 + HEAD_ITEM : 1;
    return PEEK_INCOMPLETE;
}

/* Not even white space after the number, as libmicrohttpd before 1.0 has it. */
static enum peek_verdict on_length(struct peek *peek, uint8_t c)
{
    if (peek->state == BEFORE_LENGTH && (c == ' ' || c == '\t'))
        return PEEK_INCOMPLETE;
    if (peek->state == IN_LENGTH && c == '\r')
        return go(peek, AT_LINE_LF);
    if (c < '0' || c > '9' || peek->number > (INT64_MAX - (uint64_t)(c - '0')) / 10)
        return refuse(peek, 400, BAD_LENGTH);
    peek->number = peek->number * 10 + (uint64_t)(c - '0');
    return go(peek, IN_LENGTH);
}

static enum peek_verdict on_end(struct peek *peek, uint8_t c)
{
    if (c != '\n')
        return refuse(peek, 400, LINE_END);
    if (!peek->has_host && peek->version_minor > 0)
        return refuse(peek, 400, MALFORMED "the header Host is missing");
    return PEEK_FINE;
}

/* ---- each byte ---- */

static enum peek_verdict step(struct peek *peek, uint8_t c)
{
    switch ((enum state)peek->state) {
    case AT_START:
        return c == '\r' ? go(peek, AT_START_LF) : on_start(peek, c);
    case AT_START_LF:
        return c == '\n' ? go(peek, AT_METHOD_START) : refuse(peek, 400, LINE_END);
    case AT_METHOD_START:
        return on_start(peek, c);
    case IN_METHOD:
        return on_method(peek, c);
    case IN_TARGET:
        return on_target(peek, c);
    case IN_VERSION:
        return on_version(peek, c);
    case AT_LINE_LF:
        return c == '\n' ? go(peek, AT_FIELD) : refuse(peek, 400, LINE_END);
    case AT_FIELD:
        return on_field(peek, c);
    case IN_NAME:
        return on_name(peek, c);
    case IN_VALUE:
        return on_value(peek, c);
    case BEFORE_LENGTH:
    case IN_LENGTH:
        return on_length(peek, c);
    case AT_END_LF:
        return on_end(peek, c);
    }
    return refuse(peek, 400, REQUEST_LINE);
}

enum peek_verdict peek_feed(struct peek *peek, struct span bytes)
{
    enum peek_verdict verdict = PEEK_INCOMPLETE;
    for (size_t i = 0; i < bytes.length && verdict == PEEK_INCOMPLETE; i++) {
        peek->length++;
        peek->memory++;
        verdict = step(peek, bytes.bytes[i]);
        if (verdict != PEEK_REFUSE && (peek->length > HEAD_BYTES || peek->memory > HEAD_MEMORY))
            verdict = refuse(peek, 431, peek->length > HEAD_BYTES ? TOO_LONG : TOO_MANY);
    }
    return verdict;
}
