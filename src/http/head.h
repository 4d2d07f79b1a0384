/* The strict check of a request's head, as libmicrohttpd has parsed it. Trusts nobody: every byte is a stranger's. What
 * passes here can be read in one way only, so a proxy before us and we agree on where a request ends. */
#ifndef SAFE_SCRIPT_HEAD_H
#define SAFE_SCRIPT_HEAD_H

#include "front.h"

/* The headers that mean something to us. Each may stand in a request once at most, but for those that are lists: they
 * are read into wishes. */
enum header {
    HEADER_HOST,
    HEADER_CONTENT_LENGTH,
    HEADER_TRANSFER_ENCODING,
    HEADER_CONTENT_TYPE,
    HEADER_CONTENT_ENCODING,
    HEADER_EXPECT,
    HEADER_LAST_EVENT_ID,
    HEADER_ACCEPT,
    HEADER_PREFER,
    HEADER_AUTHORIZATION,
    HEADER_ORIGIN,
    HEADER_CORS_METHOD,
    HEADER_REQUEST_ID,
    HEADER_COUNT
};

struct head {
    const char *value[HEADER_COUNT]; /* as sent, NULL where it was not */
    uint64_t content_length;         /* 0 where there was none */
    struct wishes wishes;
};

/* Why a head is refused. After such a request the connection ends: where it ends is not certain. */
struct head_fault {
    unsigned http;
    char text[192];
};

/* Reads the head of the request on mhd. `lax_parser`: libmicrohttpd is older than 1.0. Returns 0 and fills *head, or -1
 * and fills *fault. */
int head_read(struct MHD_Connection *mhd, const char *method, const char *version, const struct exchange *exchange,
              bool lax_parser, struct head *head, struct head_fault *fault);

/* True when every byte of a request's target may stand in one (RFC 9112: visible ASCII). */
bool head_uri_fine(const char *uri, size_t length);

/* A digits-only Content-Length below 2^63; nothing else, no sign, no list, no space. */
bool head_length(const char *text, uint64_t *length);

#endif
