#include "head.h"

#include "scope.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    void (*read)(struct wishes *wishes, const char *value); /* of a list */
} header_table[HEADER_COUNT] = {
    [HEADER_HOST] = {"Host", NULL},
    [HEADER_CONTENT_LENGTH] = {"Content-Length", NULL},
    [HEADER_TRANSFER_ENCODING] = {"Transfer-Encoding", NULL},
    [HEADER_CONTENT_TYPE] = {"Content-Type", NULL},
    [HEADER_CONTENT_ENCODING] = {"Content-Encoding", NULL},
    [HEADER_EXPECT] = {"Expect", NULL},
    [HEADER_LAST_EVENT_ID] = {"Last-Event-ID", NULL},
    [HEADER_ACCEPT] = {"Accept", wishes_accept},
    [HEADER_PREFER] = {"Prefer", wishes_prefer},
    [HEADER_AUTHORIZATION] = {"Authorization", NULL},
    [HEADER_ORIGIN] = {"Origin", NULL},
    [HEADER_CORS_METHOD] = {"Access-Control-Request-Method", NULL},
    [HEADER_REQUEST_ID] = {REQUEST_ID_HEADER, NULL},
};

struct reading {
    struct head *head;
    struct head_fault *fault;
    const char *at; /* where the next header line must stand */
    bool lax_parser;
    bool refused;
};

/* The first fault found is the one that is told. */
static void __attribute__((format(printf, 3, 4)))
refuse(struct reading *reading, unsigned http, const char *format, ...)
{
    va_list arguments;
    if (reading->refused)
        return;
    reading->refused = true;
    reading->fault->http = http;
    va_start(arguments, format);
    vsnprintf(reading->fault->text, sizeof reading->fault->text, format, arguments);
    va_end(arguments);
}

/* RFC 9110's tchar. */
static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bool alphanumeric = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alphanumeric && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return length > 0;
}

static bool is_value(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool head_uri_fine(const char *uri, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)uri[i];
        if (c <= 0x20 || c >= 0x7f)
            return false;
    }
    return length > 0;
}

/* RFC 9110, 7.2: a host of a URI and perhaps a port, or nothing. Not what they mean: nothing here depends on it. */
static bool is_host(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=:[]");
    return text[length + strspn(text + length, " \t")] == 0;
}

bool head_length(const char *text, uint64_t *length)
{
    size_t digits = strlen(text);
    *length = 0;
    if (digits == 0 || digits > 19 || strspn(text, "0123456789") != digits)
        return false;
    for (; *text; text++)
        *length = *length * 10 + (uint64_t)(*text - '0');
    return *length <= INT64_MAX;
}

static enum MHD_Result read_header(void *context, enum MHD_ValueKind kind, const char *key, size_t key_size,
                                   const char *value, size_t value_size)
{
    struct reading *reading = context;
    (void)kind;
    if (!value)
        value_size = 0;
    if (reading->lax_parser && (!value || key != reading->at || value <= key + key_size))
        refuse(reading, 400, "malformed request: a header line is not ended by CR LF, is folded or holds a NUL");
    else if (!is_token(key, key_size))
        refuse(reading, 400, "malformed request: a header's name is not a token");
    else if (!is_value(value, value_size))
        refuse(reading, 400, "malformed request: the header %.64s holds a control character", key);
    reading->at = value ? value + value_size + 2 : NULL;
    for (size_t i = 0; i < HEADER_COUNT && !reading->refused; i++) {
        if (strlen(header_table[i].name) != key_size || strncasecmp(header_table[i].name, key, key_size) != 0)
            continue;
        if (header_table[i].read)
            header_table[i].read(&reading->head->wishes, value ? value : "");
        else if (reading->head->value[i])
            refuse(reading, 400, "malformed request: the header %s stands there twice", header_table[i].name);
        else
            reading->head->value[i] = value ? value : "";
    }
    return reading->refused ? MHD_NO : MHD_YES;
}

/* Before 1.0 libmicrohttpd takes a bare LF for a line's end, glues folded lines to the header's name and stops a line
 * at a NUL. But it parses in place: each part stays where it came, and what separated the parts (one space, CR LF) has
 * become zeros. So the head was plain exactly when every part begins where the one before, and its separator, ends. */
static bool first_line_plain(const char *method, const char *version, const struct exchange *exchange)
{
    return exchange->uri == method + strlen(method) + 1 && version == exchange->uri + exchange->uri_length + 1 &&
           strlen(version) == strlen("HTTP/1.1");
}

static void check_framing(struct reading *reading, const char *version)
{
    struct head *head = reading->head;
    const char *length = head->value[HEADER_CONTENT_LENGTH], *expect = head->value[HEADER_EXPECT];
    if (head->value[HEADER_TRANSFER_ENCODING])
        refuse(reading, 411, "Transfer-Encoding is not accepted: send the body's %s", "Content-Length");
    if (length && !head_length(length, &head->content_length))
        refuse(reading, 400, "malformed request: Content-Length is not a decimal number of bytes");
    if (!head->value[HEADER_HOST] && strcmp(version, "HTTP/1.0") != 0)
        refuse(reading, 400, "malformed request: the header %s is missing", "Host");
    if (head->value[HEADER_HOST] && !is_host(head->value[HEADER_HOST]))
        refuse(reading, 400, "malformed request: the header Host is no host");
    if (expect && strcasecmp(expect, "100-continue") != 0)
        refuse(reading, 417, "the expectation \"%.64s\" cannot be met", expect);
}

int head_read(struct MHD_Connection *mhd, const char *method, const char *version, const struct exchange *exchange,
              bool lax_parser, struct head *head, struct head_fault *fault)
{
    struct reading reading = {.head = head, .fault = fault, .lax_parser = lax_parser};
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    *head = (struct head){0};
    if (!is_token(method, strlen(method)))
        refuse(&reading, 400, "malformed request: the method is not a token");
    if (exchange->uri_bad || (lax_parser && !first_line_plain(method, version, exchange)))
        refuse(&reading, 400, "malformed request: the request line is not METHOD, one space, path, one space, %s",
               "HTTP/1.1");
    reading.at = version + strlen("HTTP/1.1") + 2;
    if (!reading.refused)
        MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, read_header, &reading);
    if (lax_parser && (!info || method + info->header_size != reading.at + 2))
        refuse(&reading, 400, "malformed request: a header line is not ended by CR LF, is folded or holds a NUL");
    if (info && info->header_size > HEAD_BYTES)
        refuse(&reading, 431, "the request's headers are longer than the limit of %s", "16 KiB");
    check_framing(&reading, version);
    return reading.refused ? -1 : 0;
}
