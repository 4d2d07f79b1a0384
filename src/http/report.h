/* The strict parser of a report: the bytes that a run left in its report pipe. A pure function of its arguments.
 *
 * The script can write there what it likes, so these bytes are believed only where our own code in the jail would have
 * written exactly such bytes; anything else is VERDICT_FORGED. Even a perfect forgery only ever fills result, error
 * text and files: the status is decided with the supervisor's facts (lib/outcome.h). */
#ifndef SAFE_SCRIPT_REPORT_H
#define SAFE_SCRIPT_REPORT_H

#include "frames.h"
#include "limit.h"
#include "outcome.h"

#include <stddef.h>
#include <stdint.h>

/* The most that an honest report holds; the encoder in the jail cuts to these. */
enum {
    REPORT_TYPE_BYTES = 1024,
    REPORT_MESSAGE_BYTES = 16 * 1024,
    REPORT_TRACEBACK_BYTES = 128 * 1024,
};

struct report_file {
    struct span path; /* passes path_fault() (request.h) */
    struct span data;
};

/* All spans point into the bytes given to report_parse(). */
struct report {
    struct verdict verdict; /* for outcome_decide() */
    struct span result;     /* VERDICT_RESULT: the canonical JSON object; else empty */
    size_t file_count;      /* 0 unless VERDICT_RESULT or VERDICT_FAILURE */
    struct report_file files[REPORT_FILES];
};

/* Fills *report whole, whatever the bytes. `limits` are the run's: LIMIT_RESULT bounds the result, and once more all
 * the files' data together. Returns 0, or -1 when there was no memory to check the result with: then the verdict is
 * VERDICT_FORGED, so never a success, and the server's to answer for (503). */
int report_parse(struct span bytes, const uint8_t nonce[NONCE_BYTES], const struct limits *limits,
                 struct report *report);

/* No honest report is longer: the front stops reading there and cancels with CAUSE_RESULT. */
uint64_t report_most(const struct limits *limits);

#endif
