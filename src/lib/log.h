/* Structured logs: one line for each event on standard error, as a JSON object or for people. Never a script's text,
 * never a client's bytes, except through the escaping done here. One line is one write(), so lines of several processes
 * do not mix. A line that finds no room is lost and counted, and the next one that finds some is preceded by the count:
 * whoever reads the log must not be able to stop the server. (Standard error must then be non-blocking: relay.h.) */
#ifndef SAFE_SCRIPT_LOG_H
#define SAFE_SCRIPT_LOG_H

#include "fault.h"

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_JSON, LOG_TEXT };

extern const char *const log_level_names[], *const log_format_names[]; /* end with NULL */

struct log_field {
    const char *name;
    const char *text; /* the value when not NULL … */
    int64_t number;   /* … else this one */
};

#define log_text(field_name, value)   ((struct log_field){.name = (field_name), .text = (value)})
#define log_number(field_name, value) ((struct log_field){.name = (field_name), .number = (int64_t)(value)})

/* `process` is "supervisor", "front", … and stands in every line; lines below `least` are dropped. */
void log_open(const char *process, enum log_level least, enum log_format format);

/* log_event(LOG_INFO, "run finished", log_text("id", id), log_number("wall_ms", 12)); */
#define log_event(level, event, ...)                                                                                   \
    log_line((level), (event), (const struct log_field[]){{.name = NULL}, ##__VA_ARGS__, {.name = NULL}} + 1)
void log_line(enum log_level level, const char *event, const struct log_field *fields);

void log_fault(enum log_level level, const char *event, const struct fault *fault);

/* Lines of this process that were lost so far. */
uint64_t log_lost(void);

#endif
