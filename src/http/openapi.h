/* GET /openapi.json: the document of all routes, written from the tables that serve them (routes, request fields,
 * record fields, limits, statuses), so that it cannot say anything else than they do. Pure. */
#ifndef SAFE_SCRIPT_OPENAPI_H
#define SAFE_SCRIPT_OPENAPI_H

#include "environment.h"
#include "frames.h"

/* Appends the OpenAPI 3.1 document of a server with these environments. JSON Schemas in tables are written with ' for
 * ". */
void openapi_document(const struct environment_offers *offers, struct buffer *out);

#endif
