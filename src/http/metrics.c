#include "metrics.h"

#include "front.h"
#include "jail.h"
#include "scope.h"

#include <inttypes.h>
#include <string.h>

static const uint64_t bounds_us[METRICS_BUCKETS - 1] = {500,     1000,     2500,     5000,    10000,   25000,
                                                        50000,   100000,   250000,   500000,  1000000, 2500000,
                                                        5000000, 10000000, 30000000, 60000000};

/* ---- counting ---- */

void metrics_answer(struct metrics *metrics, const struct route *route, unsigned http)
{
    size_t row = route ? (size_t)(route - route_table) : METRICS_ROUTES - 1;
    if (http >= 100 && http < 100 + METRICS_CODES)
        metrics->requests[row < METRICS_ROUTES ? row : METRICS_ROUTES - 1][http - 100]++;
}

static void observe(struct histogram *histogram, uint64_t us)
{
    size_t bucket = 0;
    while (bucket < COUNT(bounds_us) && us > bounds_us[bucket])
        bucket++;
    histogram->buckets[bucket]++;
    histogram->sum_us += us;
}

void metrics_run(struct metrics *metrics, enum status status, uint32_t environment, const struct facts *facts,
                 uint64_t output_bytes, uint64_t total_us)
{
    metrics->runs[status][environment]++;
    observe(&metrics->queued, facts->queued_us);
    observe(&metrics->wall, facts->wall_us);
    observe(&metrics->total, total_us);
    metrics->cpu_us += facts->cpu_us;
    metrics->output_bytes += output_bytes;
    for (uint32_t i = 0; i < facts->denials && i < DENIALS_KEPT; i++) {
        uint32_t call = (uint32_t)facts->denied[i].number;
        metrics->denials[call < METRICS_CALLS - 1 ? call : METRICS_CALLS - 1] += facts->denied[i].count;
    }
}

/* ---- labels ---- */

/* The values that a label, or some that go together, may have. put() appends those of a place, "" for none there. */
struct dimension {
    const char *labels; /* their names, for people */
    size_t count;
    bool sparse; /* only those that are not zero are shown: most never will be */
    void (*put)(struct buffer *out, const struct metrics_now *now, size_t place);
};

static void put_status(struct buffer *out, const struct metrics_now *now, size_t place)
{
    (void)now;
    buffer_print(out, "status=\"%s\"", status_table[place].name);
}

static void put_environment(struct buffer *out, const struct metrics_now *now, size_t place)
{
    if (*now->environments->rows[place].name)
        buffer_print(out, "environment=\"%s\"", now->environments->rows[place].name);
}

static void put_route(struct buffer *out, const struct metrics_now *now, size_t place)
{
    (void)now;
    if (place < route_count)
        buffer_print(out, "method=\"%s\",route=\"%s\"", method_names[route_table[place].method],
                     route_table[place].path);
    else
        buffer_print(out, "method=\"other\",route=\"other\"");
}

static void put_code(struct buffer *out, const struct metrics_now *now, size_t place)
{
    (void)now;
    buffer_print(out, "code=\"%zu\"", place + 100);
}

static void put_call(struct buffer *out, const struct metrics_now *now, size_t place)
{
    (void)now;
    char name[64];
    buffer_print(out, "call=\"%s\"",
                 place < METRICS_CALLS - 1 ? jail_call_name((int)place, name, sizeof name) : "other");
}

static void put_phase(struct buffer *out, const struct metrics_now *now, size_t place)
{
    (void)now;
    static const char *const names[PHASE_COUNT] = {
        [PHASE_IDLE] = "idle",       [PHASE_LOOKING] = "looking",  [PHASE_READING] = "reading",
        [PHASE_WORKING] = "working", [PHASE_SILENT] = "streaming", [PHASE_SENDING] = "sending",
        [PHASE_CLOSING] = "closing"};
    buffer_print(out, "state=\"%s\"", names[place]);
}

static void put_slot(struct buffer *out, const struct metrics_now *now, size_t place)
{
    (void)now;
    static const char *const names[WIRE_SLOT_STATES] = {"free", "spawning", "entering", "waiting", "running", "dying"};
    buffer_print(out, "state=\"%s\"", names[place]);
}

static void put_process(struct buffer *out, const struct metrics_now *now, size_t place)
{
    (void)now;
    static const char *const names[PROCESS_COUNT] = {[PROCESS_SUPERVISOR] = "supervisor",
                                                     [PROCESS_STARTER] = "starter",
                                                     [PROCESS_FRONT] = "front",
                                                     [PROCESS_ZYGOTE] = "zygote"};
    buffer_print(out, "process=\"%s\"", names[place]);
}

/* Those that the supervisor starts again, and those that write to the log. */
static void put_child(struct buffer *out, const struct metrics_now *now, size_t place)
{
    if (place == PROCESS_FRONT || place == PROCESS_ZYGOTE)
        put_process(out, now, place);
}

static void put_writer(struct buffer *out, const struct metrics_now *now, size_t place)
{
    if (place == PROCESS_SUPERVISOR || place == PROCESS_FRONT)
        put_process(out, now, place);
}

static const struct dimension by_status = {"status", STATUS_COUNT, false, put_status},
                              by_environment = {"environment", METRICS_ENVIRONMENTS, false, put_environment},
                              by_route = {"method, route", METRICS_ROUTES, true, put_route},
                              by_code = {"code", METRICS_CODES, true, put_code},
                              by_call = {"call", METRICS_CALLS, true, put_call},
                              by_phase = {"state", PHASE_COUNT, false, put_phase},
                              by_slot = {"state", WIRE_SLOT_STATES, false, put_slot},
                              by_process = {"process", PROCESS_COUNT, false, put_process},
                              by_child = {"process", PROCESS_COUNT, false, put_child},
                              by_writer = {"process", PROCESS_COUNT, false, put_writer};

_Static_assert(METRICS_PHASES == (int)PHASE_COUNT, "a number for each phase");

/* ---- the table ---- */

enum type { COUNTER, GAUGE, HISTOGRAM };
enum source { COUNTED, NOW, STATS, SOURCE_COUNT };
enum measure { PLAIN, SECONDS }; /* the latter are kept as microseconds */

/* The number, an array of numbers by one or two dimensions, or a histogram, stands at `offset` of its source. */
static const struct metric {
    const char *name;
    enum type type;
    enum measure measure;
    const struct dimension *by, *and;
    enum source source;
    size_t offset;
    const char *help;
} table[] = {
#define AT(source, field) source, offsetof(struct SOURCE_OF_##source, field)
#define SOURCE_OF_COUNTED metrics
#define SOURCE_OF_NOW     metrics_now
#define SOURCE_OF_STATS   wire_stats
    {"safe_script_runs_total", COUNTER, PLAIN, &by_status, &by_environment, AT(COUNTED, runs),
     "Runs that are over, by how they ended."},
    {"safe_script_run_queue_seconds", HISTOGRAM, SECONDS, NULL, NULL, AT(COUNTED, queued),
     "Time that a run waited for its jail."},
    {"safe_script_run_wall_seconds", HISTOGRAM, SECONDS, NULL, NULL, AT(COUNTED, wall),
     "Time from a script's start to the end of its whole jail."},
    {"safe_script_run_total_seconds", HISTOGRAM, SECONDS, NULL, NULL, AT(COUNTED, total),
     "Time from the whole request to the whole answer."},
    {"safe_script_run_cpu_seconds_total", COUNTER, SECONDS, NULL, NULL, AT(COUNTED, cpu_us), "CPU time of all runs."},
    {"safe_script_run_output_bytes_total", COUNTER, PLAIN, NULL, NULL, AT(COUNTED, output_bytes),
     "Bytes that scripts wrote to stdout and stderr."},
    {"safe_script_denials_total", COUNTER, PLAIN, &by_call, NULL, AT(COUNTED, denials),
     "System calls that the jail refused, as far as they are counted in run records."},
    {"safe_script_runs_restarted_total", COUNTER, PLAIN, NULL, NULL, AT(STATS, runs_restarted),
     "Runs that something outside killed and that were started anew."},
    {"safe_script_runs_in_flight", GAUGE, PLAIN, NULL, NULL, AT(NOW, flights), "Runs that wait or run."},
    {"safe_script_queue_length", GAUGE, PLAIN, NULL, NULL, AT(STATS, queued), "Runs that wait for a place."},
    {"safe_script_queue_limit", GAUGE, PLAIN, NULL, NULL, AT(STATS, queue), "Runs that may wait; more get 429."},
    {"safe_script_concurrency_limit", GAUGE, PLAIN, NULL, NULL, AT(STATS, concurrency), "Runs that may run at once."},
    {"safe_script_pool_target", GAUGE, PLAIN, NULL, NULL, AT(STATS, pool),
     "Jails that are to wait for a run of the default environment."},
    {"safe_script_environment_pool_target", GAUGE, PLAIN, &by_environment, NULL, AT(STATS, pools),
     "Jails that are to wait for a run; 0 while no zygote of the environment's is up."},
    {"safe_script_environment_pool", GAUGE, PLAIN, &by_environment, NULL, AT(STATS, waiting),
     "Jails that wait for a run."},
    {"safe_script_slots", GAUGE, PLAIN, &by_slot, NULL, AT(STATS, slots), "Places for jails, by state."},
    {"safe_script_jails_made_total", COUNTER, PLAIN, NULL, NULL, AT(STATS, jails_made), "Jails that were made."},
    {"safe_script_jails_failed_total", COUNTER, PLAIN, NULL, NULL, AT(STATS, jails_failed),
     "Jails that could not be made."},
    {"safe_script_zygotes_recycled_total", COUNTER, PLAIN, NULL, NULL, AT(STATS, recycled),
     "Zygotes that were replaced in their time."},
    {"safe_script_restarts_total", COUNTER, PLAIN, &by_child, NULL, AT(STATS, restarts),
     "Processes that ended when they should not and were started again."},
    {"safe_script_records_kept", GAUGE, PLAIN, NULL, NULL, AT(NOW, kept_runs),
     "Runs that can be asked for by their ids."},
    {"safe_script_records_kept_bytes", GAUGE, PLAIN, NULL, NULL, AT(NOW, kept_bytes),
     "Memory of those of them that are over."},
    {"safe_script_http_requests_total", COUNTER, PLAIN, &by_route, &by_code, AT(COUNTED, requests),
     "Answers, by route and status code."},
    {"safe_script_http_connections_total", COUNTER, PLAIN, NULL, NULL, AT(COUNTED, accepted),
     "Connections that were accepted."},
    {"safe_script_http_connections", GAUGE, PLAIN, &by_phase, NULL, AT(NOW, connections),
     "Open connections, by state."},
    {"safe_script_http_body_bytes", GAUGE, PLAIN, NULL, NULL, AT(NOW, buffered_bytes),
     "Request bodies that are being received."},
    {"safe_script_ready", GAUGE, PLAIN, NULL, NULL, AT(NOW, ready), "1 while GET /readyz gives 200."},
    {"safe_script_resident_memory_bytes", GAUGE, PLAIN, &by_process, NULL, AT(STATS, resident_bytes),
     "Resident memory of the server's processes; 0 while there is none."},
    {"safe_script_cgroup_memory_bytes", GAUGE, PLAIN, NULL, NULL, AT(STATS, cgroup_bytes),
     "Memory of all runs together; 0 where no cgroup counts."},
    {"safe_script_log_lines_lost_total", COUNTER, PLAIN, &by_writer, NULL, AT(STATS, log_lost),
     "Log lines that found no room: whoever reads the log is too slow."},
    {"safe_script_start_time_seconds", GAUGE, PLAIN, NULL, NULL, AT(STATS, started_s),
     "When the server started, in seconds since 1970."},
#undef AT
};

static const char *const type_names[] = {[COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};

/* ---- the page ---- */

static void put_number(struct buffer *out, enum measure measure, uint64_t value)
{
    if (measure == SECONDS)
        buffer_print(out, "%" PRIu64 ".%06" PRIu64, value / 1000000, value % 1000000);
    else
        buffer_print(out, "%" PRIu64, value);
}

static void put_head(struct buffer *out, const char *name, enum type type, const char *help)
{
    buffer_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type_names[type]);
}

static void put_histogram(struct buffer *out, const struct metric *metric, const struct histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        count += histogram->buckets[i];
        buffer_print(out, "%s_bucket{le=\"", metric->name);
        if (i < COUNT(bounds_us))
            buffer_print(out, "%g", (double)bounds_us[i] / 1e6);
        else
            buffer_print(out, "+Inf");
        buffer_print(out, "\"} %" PRIu64 "\n", count);
    }
    buffer_print(out, "%s_sum ", metric->name);
    put_number(out, SECONDS, histogram->sum_us);
    buffer_print(out, "\n%s_count %" PRIu64 "\n", metric->name, count);
}

/* One sample; where a label has no value for its place there is none. */
static void put_sample(struct buffer *out, const struct metrics_now *now, const struct metric *metric, size_t place,
                       size_t other, uint64_t value)
{
    const size_t before = out->length;
    const struct dimension *const dimensions[] = {metric->by, metric->and };
    const size_t places[] = {place, other};
    buffer_print(out, "%s", metric->name);
    for (size_t i = 0; i < COUNT(dimensions) && dimensions[i]; i++) {
        buffer_print(out, "%s", i ? "," : "{");
        size_t length = out->length;
        dimensions[i]->put(out, now, places[i]);
        if (out->length == length) {
            out->length = before;
            return;
        }
    }
    buffer_print(out, metric->by ? "} " : " ");
    put_number(out, metric->measure, value);
    buffer_print(out, "\n");
}

static void put_metric(struct buffer *out, const struct metrics_now *now, const struct metric *metric,
                       const uint8_t *source)
{
    const void *at = source + metric->offset;
    const uint64_t *values = at;
    size_t count = metric->by ? metric->by->count : 1, others = metric->and ? metric->and->count : 1;
    bool sparse = metric->by && metric->by->sparse;
    put_head(out, metric->name, metric->type, metric->help);
    if (metric->type == HISTOGRAM) {
        put_histogram(out, metric, at);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < others; j++) {
            if (!sparse || values[i * others + j])
                put_sample(out, now, metric, i, j, values[i * others + j]);
        }
    }
}

static const char build_name[] = "safe_script_build_info", build_help[] = "Always 1; the labels say what runs.";

void metrics_page(const struct metrics *metrics, const struct metrics_now *now, const struct wire_stats *stats,
                  struct buffer *out)
{
    const void *const sources[SOURCE_COUNT] = {[COUNTED] = metrics, [NOW] = now, [STATS] = stats};
    put_head(out, build_name, GAUGE, build_help);
    buffer_print(out, "%s{version=\"%s\",libmicrohttpd=\"%s\"} 1\n", build_name, SAFE_SCRIPT_VERSION,
                 MHD_get_version());
    for (size_t i = 0; i < COUNT(table); i++)
        put_metric(out, now, &table[i], sources[table[i].source]);
}

void metrics_table(struct buffer *out)
{
    buffer_print(out, "| metric | type | labels | |\n|---|---|---|---|\n");
    buffer_print(out, "| `%s` | gauge | version, libmicrohttpd | %s |\n", build_name, build_help);
    for (size_t i = 0; i < COUNT(table); i++) {
        const struct metric *metric = &table[i];
        buffer_print(out, "| `%s` | %s | %s%s%s | %s |\n", metric->name, type_names[metric->type],
                     metric->by ? metric->by->labels : "", metric->and ? ", " : "",
                     metric->and ? metric->and->labels : "", metric->help);
    }
}
