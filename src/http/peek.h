/* The first look at a connection: is what has come so far the head of a request that can be read in one way only? It
 * decides before libmicrohttpd sees a byte, because that answers some malformed heads itself, in HTML, and reads others
 * generously. Trusts nobody. Pure: a state and bytes in, a verdict out; each byte is looked at once, in whatever pieces
 * the bytes come. Grammar: RFC 9112, and where it leaves a choice the strict one.
 *
 * What passes here is no stranger to head.c, which checks every request of a connection as libmicrohttpd parsed it. */
#ifndef SAFE_SCRIPT_PEEK_H
#define SAFE_SCRIPT_PEEK_H

#include "frames.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    METHOD_BYTES = 32,      /* 400 past this */
    QUERY_BYTES = 256,      /* 414 past this: libmicrohttpd makes a list of them */
    URI_BYTES = 4096,       /* 414 past this … */
    HEAD_BYTES = 16 * 1024, /* … and 431 past this … */
    /* … or past this once every line, cookie and query parameter counts for as much as libmicrohttpd's entry for it. */
    HEAD_MEMORY = 24 * 1024,
    HEAD_ITEM = 64,
};

enum peek_verdict {
    PEEK_INCOMPLETE, /* fine so far */
    PEEK_FINE,       /* the whole head */
    PEEK_REFUSE,     /* http and text say why; nothing that follows can change that */
};

/* Zero-initialised before a connection's first byte. */
struct peek {
    uint8_t state, field, word_length, version_minor;
    uint8_t scheme, prefix; /* how much of "http://" (or "https://") and "/v1/" the target has matched */
    bool has_host, has_length;
    bool problem;   /* the path begins with /v1/ */
    bool head_only; /* the method is HEAD */
    char word[20];  /* the method, or a header's name in lower case, as far as any that we know is long */
    uint16_t target_length, query_length;
    uint32_t length; /* of all bytes looked at */
    uint32_t memory;
    uint64_t number; /* Content-Length's value */
    uint16_t http;
    const char *text;
};

/* Looks at the bytes that follow those of the earlier calls. What stands behind the head is not looked at. After any
 * verdict but PEEK_INCOMPLETE the state is spent. */
enum peek_verdict peek_feed(struct peek *peek, struct span bytes);

#endif
