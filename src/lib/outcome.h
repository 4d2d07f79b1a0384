/* How a run ended: a pure function of the supervisor's facts and the front's verdict on the report's bytes. */
#ifndef SAFE_SCRIPT_OUTCOME_H
#define SAFE_SCRIPT_OUTCOME_H

#include "frames.h"
#include "run.h"
#include "text.h"

#include <stdbool.h>

enum status {
    STATUS_OK,
    STATUS_SCRIPT_ERROR,
    STATUS_CONTRACT_ERROR,
    STATUS_TIME_LIMIT,
    STATUS_CPU_LIMIT,
    STATUS_MEMORY_LIMIT,
    STATUS_OUTPUT_LIMIT,
    STATUS_PROCESS_LIMIT,
    STATUS_DISK_LIMIT,
    STATUS_KILLED,
    STATUS_EXITED,
    STATUS_CANCELLED,
    STATUS_LOST,
    STATUS_COUNT
};

struct status_row {
    const char *name; /* as /v1 gives it */
    int execute_http; /* HTTP status on POST /execute */
    const char *help;
};

extern const struct status_row status_table[STATUS_COUNT];

enum verdict_kind {
    VERDICT_NONE,    /* the channel was empty */
    VERDICT_RESULT,  /* a whole report with a result that passed the strict check */
    VERDICT_FAILURE, /* a whole report of a failure */
    VERDICT_FORGED,  /* anything else: bytes that our own code in the jail never writes */
};

struct verdict {
    enum verdict_kind kind;
    enum failure failure; /* VERDICT_FAILURE */
    struct span type, message, traceback;
    uint32_t line;
};

struct outcome {
    enum status status;
    char type[128];     /* error type for /v1: exception class, or the status's name; empty for ok */
    char message[4352]; /* error.message on /v1: without type and line; empty for ok */
    char text[4608];    /* the one line that /execute gives; empty for ok. Valid UTF-8, no control characters */
    uint32_t line;      /* 0: none */
};

/* Fills *outcome. STATUS_OK needs all of: cause none, exited with EXIT_REPORTED, and VERDICT_RESULT. The strings of the
 * verdict may hold anything; the outcome's are valid UTF-8 without control characters, cut to fit. */
void outcome_decide(const struct facts *facts, const struct verdict *verdict, const struct limits *limits,
                    struct outcome *outcome);

/* "SIGSEGV", or "signal 42" written into text. */
const char *signal_name(int number, char text[16]);

#endif
