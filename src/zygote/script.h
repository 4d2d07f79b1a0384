/* The script itself: compiled, run, main() called, its result encoded or its failure described. All that is Python
 * about a run is here; what is the system's is in child.c.
 *
 * Everything that is called after the first line of the script has run was taken from the interpreter before
 * (tools.h), and what a script can still reach of it can only spoil its own texts: whether a run failed is
 * decided in C. */
#ifndef SAFE_SCRIPT_SCRIPT_H
#define SAFE_SCRIPT_SCRIPT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fault.h"
#include "frames.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a run has to say: a result, or a failure with its texts (each UTF-8, cut). Buffers are never freed. */
struct said {
    enum failure failure; /* 0: result holds JSON */
    struct buffer result, type, message, traceback;
    uint32_t line;
    bool ran; /* the script has started: it may have left files */
};

/* In the zygote, once it has its tools. */
void script_prepare(void);

/* Takes the address space that a report of a MemoryError needs. In the zygote, once its memory is settled. */
void script_reserve(void);

/* Runs a script of ours. In a clone, while it waits, so that the pages that every run writes to are its own already: a
 * short one, as this is paid for by each. In the zygote (`whole`) with more of the language. */
void script_rehearse(bool whole);

/* Sets source and input (bytes NULL: none); both are copied. False and *said when that alone fails. */
bool script_load(struct span source, struct span input, struct said *said);

/* Runs what was loaded. Does not return when the script ends the process (SystemExit) or in a process that it has
 * forked. */
void script_run(size_t result_most, struct said *said);

/* Flushes what the script has printed. */
void script_flush(void);

/* Whether these bytes are valid UTF-8. */
bool script_is_text(const char *name);

#endif
