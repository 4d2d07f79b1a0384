/* The limits table: one row per limit, read by the configuration, the request's validation, the jail, the outcome's
 * wording, --help, the manual page and the documentation. Adding a limit is adding a row. */
#ifndef SAFE_SCRIPT_LIMITS_H
#define SAFE_SCRIPT_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum limit {
    LIMIT_WALL,       /* milliseconds of wall clock, from the script's start */
    LIMIT_CPU,        /* milliseconds of CPU of all processes of the run */
    LIMIT_MEMORY,     /* bytes, all of the run together */
    LIMIT_PROCESSES,  /* processes and threads together */
    LIMIT_OUTPUT,     /* bytes kept of stdout, and as many of stderr */
    LIMIT_DISK,       /* bytes of the run's tmpfs */
    LIMIT_INODES,     /* files and directories of the run's tmpfs */
    LIMIT_OPEN_FILES, /* descriptors per process */
    LIMIT_REQUEST,    /* bytes of a request's body */
    LIMIT_RESULT,     /* bytes of the result as JSON; the returned files together may have as many again */
    LIMIT_COUNT
};

enum unit { UNIT_MILLISECONDS, UNIT_BYTES, UNIT_COUNT };

struct limits {
    uint64_t value[LIMIT_COUNT];
};

struct limit_row {
    const char *name; /* the field in a request's "limits" and the key in the configuration's [limits] */
    enum unit unit;
    uint64_t initial;     /* the default */
    uint64_t least, most; /* what an operator may set; a request: least … the server's value */
    bool by_request;      /* a request may lower it */
    const char *exceeded; /* "time limit exceeded", completed by ": 10 s" */
    const char *help;
};

extern const struct limit_row limit_table[LIMIT_COUNT];

/* Output past this many times LIMIT_OUTPUT kills the run. */
enum { OUTPUT_KILL_FACTOR = 8 };

/* Nesting allowed in JSON that we take or give: more than people write, less than what parsers with a recursion
 * limit of 1,000 (CPython's) refuse. */
enum { JSON_DEPTH = 800 };

void limits_default(struct limits *limits);

/* Value with its unit as messages show it: "10 s", "1.5 s", "256 MiB", "100 KiB", "64". Returns text. */
char *limit_text(enum limit limit, uint64_t value, char *text, size_t size);
char *unit_text(enum unit unit, uint64_t value, char *text, size_t size);

/* The number that a person writes: "10s", "256MiB", "42"; a whole number and, where the unit has others, one of them.
 * Returns 0 or -1. */
int unit_parse(enum unit unit, const char *text, uint64_t *value);

/* What may be written, to follow an error's "is not a whole number". */
extern const char *const unit_words[];

/* "time limit exceeded: 10 s". Returns text. */
char *limit_exceeded(enum limit limit, const struct limits *limits, char *text, size_t size);

#endif
