/* GET /openapi.json: the document of all routes, written from the tables that serve them (routes, request fields,
 * record fields, limits, statuses), so that it cannot say anything else than they do. Pure. */
#ifndef SAFE_SCRIPT_OPENAPI_H
#define SAFE_SCRIPT_OPENAPI_H

#include "environment.h"
#include "frames.h"

#include <stdbool.h>
#include <stddef.h>

/* An error that all routes share. */
struct shared_error {
    unsigned http;
    bool body;  /* only where there is one */
    bool retry; /* with Retry-After */
    const char *help;
    bool key; /* only where one may be needed */
};
extern const struct shared_error shared_errors[];
extern const size_t shared_error_count;

/* What an event stream has: OpenAPI 3.1 has no word for it, so it is an extension there. */
struct stream_event {
    const char *name, *schema, *help;
};
extern const struct stream_event stream_events[];
extern const size_t stream_event_count;

/* Appends the OpenAPI 3.1 document of a server with these environments. JSON Schemas in tables are written with ' for
 * ". */
void openapi_document(const struct environment_offers *offers, struct buffer *out);

/* Appends the manual page safe-script-api(7) (troff), of the same tables: api_manual.c. */
void api_manual(struct buffer *out);

#endif
