/* From a request's body to a validated request: a pure function of its arguments.
 *
 * It trusts nobody: body and content type are a stranger's. Whatever is accepted here is whole and within the limits;
 * what is not is answered with one line that names the field, the line or the limit. Nothing is logged or kept. */
#ifndef SAFE_SCRIPT_REQUEST_H
#define SAFE_SCRIPT_REQUEST_H

#include "environment.h"
#include "frames.h"
#include "json.h"
#include "limit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most that one request may name. */
enum { REQUEST_FILES = 1000, REQUEST_GLOBS = 64 };

/* A request that passed. Owns its buffers: request_free() releases them (a zeroed struct is fine, too). */
struct request {
    struct buffer job;         /* the whole job as frames (lib/frames.h), NONCE to END: what the job memfd gets */
    struct buffer stdin_bytes; /* valid UTF-8; may be empty */
    bool has_stdin;
    uint32_t environment; /* its number: the one that the request names, or the default */
    uint32_t warmer;      /* the number of one with more of the script's imports warm, or the same */
    struct limits limits; /* the environment's, lowered by the request */
};

/* Why a request was not accepted. `text` is one line of valid UTF-8 without control characters. */
struct request_error {
    unsigned http; /* 400; 413 body longer than LIMIT_REQUEST; 415 content type; 503 out of memory */
    char text[640];
};

/* Checks a body. content_type is the header's value or NULL when there was none; `offers` are the environments, `most`
 * the limits that the client has whatever theirs are; nonce goes into the job as its NONCE frame. The result holds
 * copies: body may go afterwards. Returns 0 and fills *request, or -1 and fills *error; *request is then zeroed, there
 * is nothing to free. */
int request_parse(struct span body, const char *content_type, const struct environment_offers *offers,
                  const struct limits *most, const uint8_t nonce[NONCE_BYTES], struct request *request,
                  struct request_error *error);

void request_free(struct request *request);

/* True when the content type is one that request_parse() takes: so that the front can answer 415 before the body has
 * come. Fills *error when false. */
bool request_type_known(const char *content_type, struct request_error *error);

struct request_work;

/* The fields of a request: what is accepted, and the documentation's source. */
struct request_field {
    const char *name;
    const char *type;   /* "string", "object", … as people read it */
    const char *schema; /* members of its JSON Schema, with ' for " (see openapi.h) */
    bool required;
    const char *help;
    /* request.c's own: checks the value and adds it to the request. Rows stand in the order of the job's frames. */
    int (*parse)(struct request_work *work, const struct json_value *value);
};
extern const struct request_field request_fields[];
extern const size_t request_field_count;

/* Sizes of a file's path in job and report: bytes in all, bytes of one part (NAME_MAX), parts. */
enum { PATH_BYTES = 1024, PATH_PART_BYTES = 255, PATH_DEPTH = 16 };

/* Why bytes are not a relative path as job and report may have it ("has an empty part", "is absolute", …), or NULL when
 * they are: valid UTF-8, no NUL, no empty, "." or ".." part, no slash at either end, within the sizes above. */
const char *path_fault(struct span path);

#endif
