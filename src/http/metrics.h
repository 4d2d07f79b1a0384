/* What is watched: one table of metrics, and the counts that only the front can make. A row of the table says what a
 * metric is, which labels it has and where its number comes from; GET /metrics, doc/MONITORING.md and the tests read
 * it. Text format 0.0.4 of Prometheus. Counting is an addition; nothing here allocates but the page itself. */
#ifndef SAFE_SCRIPT_METRICS_H
#define SAFE_SCRIPT_METRICS_H

#include "environment.h"
#include "frames.h"
#include "outcome.h"
#include "run.h"
#include "wire.h"

#include <stdint.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum {
    METRICS_ROUTES = 32, /* rows of the table of routes, and the last one for all that has none */
    METRICS_CODES = 500, /* 100 … 599 */
    METRICS_ENVIRONMENTS = ENVIRONMENT_ROWS,
    METRICS_CALLS = 513,  /* system calls by number, and the last one for higher ones */
    METRICS_BUCKETS = 17, /* of a histogram, the last one without a bound */
    METRICS_PHASES = 7,
};

struct histogram {
    uint64_t buckets[METRICS_BUCKETS]; /* each by itself; they are added up when they are shown */
    uint64_t sum_us;
};

/* Counted by the front since it started. Zero-initialised. */
struct metrics {
    uint64_t runs[STATUS_COUNT][METRICS_ENVIRONMENTS];
    struct histogram queued, wall, total;
    uint64_t cpu_us, output_bytes;
    uint64_t denials[METRICS_CALLS];
    uint64_t requests[METRICS_ROUTES][METRICS_CODES];
    uint64_t accepted;
};

/* What is so at this moment, as far as the front knows. */
struct metrics_now {
    uint64_t connections[METRICS_PHASES]; /* by enum phase */
    uint64_t flights, buffered_bytes, kept_runs, kept_bytes;
    uint64_t ready;
    const struct environment_offers *environments;
};

struct route;

/* An answer went out; route may be NULL. */
void metrics_answer(struct metrics *metrics, const struct route *route, unsigned http);

/* A run is over. total_us: from the whole request to the whole answer. */
void metrics_run(struct metrics *metrics, enum status status, uint32_t environment, const struct facts *facts,
                 uint64_t output_bytes, uint64_t total_us);

/* Appends the page. */
void metrics_page(const struct metrics *metrics, const struct metrics_now *now, const struct wire_stats *stats,
                  struct buffer *out);

/* Appends the table as Markdown: what doc/MONITORING.md has. */
void metrics_table(struct buffer *out);

#endif
