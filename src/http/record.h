/* Response bodies: the JSON that leaves the server. Pure functions of their arguments.
 *
 * Everything that came from a script or a stranger is put through json_put_string() or is a result that passed
 * json_canonical(), so what is appended to `out` is always valid UTF-8 and valid JSON. All functions append to out;
 * the caller checks out->failed once (then: 503) and frees it. */
#ifndef SAFE_SCRIPT_RECORD_H
#define SAFE_SCRIPT_RECORD_H

#include "outcome.h"
#include "report.h"
#include "run.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One kind of denied call as jail_denial_text() worded it. */
struct record_denial {
    const char *what;
    uint32_t count;
    const char *hint;
};

/* One of the two output streams, as far as the front kept it. */
struct record_stream {
    struct span kept; /* at most LIMIT_OUTPUT bytes */
    bool truncated;   /* more was written than is kept: a character cut in two at the end is left out */
    uint64_t total;   /* bytes written in all, as far as the front saw them */
};

/* All that is known of a run that took place. Borrows everything. */
struct record {
    const char *id;
    const char *environment;
    const struct outcome *outcome; /* from outcome_decide() on these facts and this report's verdict */
    const struct facts *facts;
    const struct report *report;
    struct record_stream out, err; /* stdout and stderr */
    const char *const *layers;     /* names of the layers that were on */
    size_t layer_count;
    const struct record_denial *denied;
    size_t denied_count;
};

/* The run record: its keys in their order, and the documentation's source. */
struct record_field {
    const char *name;
    const char *schema; /* members of its JSON Schema, with ' for " (see openapi.h) */
    const char *help;
    void (*put)(struct buffer *out, const struct record *record);
};
extern const struct record_field record_fields[];
extern const size_t record_field_count;

/* The body of POST /execute, byte for byte as the contract has it; returns the HTTP status. No trailing newline. */
unsigned execute_body(const struct record *record, struct buffer *out);

/* The run record of POST /v1/runs (HTTP 200): all keys, in the contract's order. Not known is null. Returns where in
 * `out` the value of "result" begins. */
size_t run_record(const struct record *record, struct buffer *out);

/* What is known of a run that is not over: the record's id, status ("queued", "running") and environment. */
void run_progress(const char *id, const char *status, const char *environment, struct buffer *out);

/* {"error":"<one line>"}: text may hold anything, it leaves as one line of valid UTF-8. */
void error_body(const char *text, struct buffer *out);

/* RFC 9457: {"type":"about:blank","title":…,"status":…,"detail":…}; title is the status's reason phrase. */
void problem_body(unsigned status, const char *title, const char *detail, struct buffer *out);

#endif
