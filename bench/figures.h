/* What the bench's programs count, and how they say it: durations, their percentiles, files to compare with, options.
 * Trusts whoever starts it. What fails here ends the program with status 2 and one line. */
#ifndef SAFE_SCRIPT_FIGURES_H
#define SAFE_SCRIPT_FIGURES_H

#include <stddef.h>
#include <stdint.h>

/* Durations in the order they came. Zero-initialised; lives as long as the program. */
struct figures {
    uint64_t *ns;
    size_t count, capacity;
};

void figures_add(struct figures *figures, uint64_t ns);

/* Writes each to `path`, in microseconds, one a line. */
void figures_save(const struct figures *figures, const char *path);

/* Prints "latency_ms":{…}: min, median, p90, p99, p999, max, mean. Sorts them. */
void figures_print(struct figures *figures);

/* The clock that everything is measured by. */
uint64_t now_ns(void);

/* A whole file, its length in *length. The caller owns it. */
uint8_t *read_whole(const char *path, size_t *length);

/* The number that an option's text is, in `unit`: "2.5" with 1e9 is 2500000000. */
uint64_t option_number(const char *name, const char *text, double unit);

/* Never NULL. */
void *allocate(void *old, size_t size);

__attribute__((noreturn)) void fail(const char *what, const char *object);

#endif
