#include "flight.h"
#ifdef SAFE_SCRIPT_ABLATION
#include "believe.h"
#endif
#include "log.h"
#include "outcome.h"
#include "record.h"
#include "report.h"
#include "scope.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

enum {
    /* A run that is over sooner never has its pipes watched: they are read once, at its end. That spares it three
     * epoll_ctl() and, while it dies, three wake-ups. Its pipes hold 64 KiB each until then. */
    YOUNG_MS = 2,
    /* The supervisor ends a run at its wall-clock limit; so much later we ask for it, in case its clock has failed. */
    LATE_MS = 1000,
};

/* ---- lists and places ---- */

static void list_leave(struct flight *flight)
{
    struct flight_list *list = take(flight->list);
    if (!list)
        return;
    *(flight->previous ? &flight->previous->next : &list->first) = flight->next;
    *(flight->next ? &flight->next->previous : &list->last) = flight->previous;
    flight->previous = flight->next = NULL;
}

static void list_join(struct flight *flight, struct flight_list *list, uint64_t now_ms)
{
    list_leave(flight);
    flight->list = list;
    flight->since_ms = now_ms;
    flight->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = flight;
    list->last = flight;
}

static struct flight *find(const struct front *front, uint64_t id)
{
    size_t place = (uint32_t)id;
    struct flight *flight = place < front->flight_capacity ? front->flights[place] : NULL;
    return flight && flight->id == id ? flight : NULL;
}

static bool take_place(struct front *front, struct flight *flight)
{
    size_t place = front->flight_next, capacity = front->flight_capacity;
    for (size_t tries = 0; tries < capacity; tries++, place++) {
        place = place < capacity ? place : 0;
        if (!front->flights[place])
            break;
    }
    if (place >= capacity || front->flights[place]) {
        size_t more = capacity ? capacity * 2 : 64;
        struct flight **flights = reallocarray(front->flights, more, sizeof(void *));
        if (!flights)
            return false;
        for (size_t i = capacity; i < more; i++)
            flights[i] = NULL;
        front->flights = flights;
        front->flight_capacity = more;
        place = capacity;
    }
    front->flights[place] = flight;
    front->flight_next = place + 1;
    flight->id = (uint64_t)++front->flight_last << 32 | place;
    return true;
}

static void flight_free(struct front *front, struct flight *flight)
{
    if (flight->run)
        runs_forget(&front->runs, take(flight->run));
    if (find(front, flight->id) == flight)
        front->flights[(uint32_t)flight->id] = NULL;
    list_leave(flight);
    pipes_free(front, flight);
    drop_fd(&flight->job);
    drop_fd(&flight->input);
    front->buffered -= flight->job_bytes;
    front_bury(front, &flight->streams[0].watch);
}

static const char *environment_name(const struct front *front, const struct flight *flight)
{
    return front->environments.rows[flight->environment].name;
}

/* ---- to the supervisor ---- */

static bool tell_run(struct front *front, struct flight *flight)
{
    struct wire_message message = {.type = WIRE_RUN, .fds = {flight->job}, .fd_count = 1};
    message.run = (struct wire_run){.id = flight->id,
                                    .limits = flight->limits,
                                    .has_stdin = flight->input >= 0,
                                    .tell_queued = flight->async,
                                    .owner = flight->owner,
                                    .probe = flight->probe,
                                    .environment = flight->environment,
                                    .warmer = flight->warmer};
    if (flight->input >= 0)
        message.fds[message.fd_count++] = flight->input;
    if (!front_tell(front, &message))
        return false;
    drop_fd(&flight->job);
    drop_fd(&flight->input);
    return true;
}

static void tell_cancel(struct front *front, struct flight *flight)
{
    struct wire_message message = {.type = WIRE_CANCEL, .cancel = {flight->id, flight->cancelled}};
    flight->cancel_unsent = !front_tell(front, &message);
}

void flight_flush(struct front *front)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &front->supervisor_watch};
    front->supervisor_full = false;
    for (size_t i = 0; i < front->flight_capacity && !front->supervisor_full; i++) {
        if (front->flights[i] && front->flights[i]->cancel_unsent)
            tell_cancel(front, front->flights[i]);
    }
    for (struct flight *flight; (flight = front->unsent.first) && !front->supervisor_full;) {
        if (tell_run(front, flight))
            list_leave(flight);
    }
    if (!front->supervisor_full)
        epoll_ctl(front->epoll, EPOLL_CTL_MOD, front->supervisor, &event);
}

void flight_kill(struct front *front, struct flight *flight, enum cause cause)
{
    if (flight->cancelled != CAUSE_NONE || flight->over)
        return;
    flight->cancelled = cause;
    tell_cancel(front, flight);
}

/* ---- the start ---- */

static int memfd(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    return fd < 0 && errno == EINVAL ? memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd; /* before 6.3 */
}

/* bytes in a memory file that nobody can change any more, its offset at the start. */
static int sealed_memfd(const char *name, const struct buffer *bytes)
{
    auto_fd int fd = memfd(name);
    for (size_t at = 0; fd >= 0 && at < bytes->length;) {
        ssize_t written = pwrite(fd, bytes->bytes + at, bytes->length - at, (off_t)at);
        if (written <= 0)
            return -1;
        at += (size_t)written;
    }
    if (fd < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
        return -1;
    return take_fd(&fd);
}

static struct flight *flight_new(const struct front *front, uint64_t owner)
{
    struct flight *flight = calloc(1, sizeof *flight);
    if (!flight)
        return NULL;
    flight->job = flight->input = -1;
    pipes_open(flight);
    if (getrandom(flight->nonce, NONCE_BYTES, 0) != NONCE_BYTES || runs_name(&front->runs, owner, flight->name)) {
        free(flight);
        return NULL;
    }
    return flight;
}

/* The run can be asked for from now on. */
static bool keep(struct front *front, struct flight *flight, uint64_t owner)
{
    struct buffer started = {0};
    run_progress(flight->name, "running", environment_name(front, flight), &started);
    flight->run = started.failed ? NULL : runs_add(&front->runs, flight->name, owner, environment_name(front, flight));
    if (!flight->run) {
        buffer_free(&started);
        return false;
    }
    flight->run->flight = flight;
    flight->run->events.started = started;
    return true;
}

/* Who runs a script is told by its hash which: the log has no more of it. */
static void take_digest(struct flight *flight, const struct buffer *job)
{
    struct span rest = {job->bytes, job->length};
    struct frame frame;
    while (frame_next(&rest, &frame) > 0) {
        if (frame.tag == FRAME_SCRIPT)
            digest_sha256(frame.data, flight->digest);
    }
}

/* Moves what the request says into the flight and the memory files that the run will get. */
static bool load(struct front *front, struct flight *flight, const struct request *request)
{
    flight->limits = request->limits;
    flight->environment = request->environment;
    flight->warmer = request->warmer;
    flight->asked_us = front_clock_us();
    take_digest(flight, &request->job);
    flight->job_bytes = request->job.length + request->stdin_bytes.length;
    front->buffered += flight->job_bytes;
    flight->job = sealed_memfd("job", &request->job);
    flight->input = request->has_stdin ? sealed_memfd("stdin", &request->stdin_bytes) : -1;
    return flight->job >= 0 && (flight->input >= 0 || !request->has_stdin) && take_place(front, flight);
}

/* What the client wants to be told of it, and when. */
static bool heed(struct front *front, struct flight *flight, const struct exchange *exchange)
{
    flight->record = exchange->route->record;
    flight->async = flight->record && exchange->wishes.async;
    bool kept = flight->async || (flight->record && wishes_stream(&exchange->wishes));
    return !kept || keep(front, flight, exchange->owner);
}

/* Who it is to the queue. */
static uint32_t owner_of(const struct connection *connection)
{
    uint64_t owner = connection->exchange.owner;
    return owner ? (uint32_t)owner : connection->owner;
}

static struct full *full_for(struct front *front, uint32_t owner)
{
    return &front->full[owner % FULL_KNOWN];
}

static void send_off(struct front *front, struct flight *flight)
{
    if (!tell_run(front, flight))
        list_join(flight, &front->unsent, front->now_ms);
}

void flight_start(struct front *front, struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    struct span body = {exchange->body, exchange->body_length};
    struct request request = {0};
    struct request_error error;
    if (front->end_ms) {
        exchange_refuse(connection, 503, 1, "the server is stopping");
        return;
    }
    /* Under overload most requests end here, at next to no cost to those that are served. */
    const struct full *full = full_for(front, owner_of(connection));
    if (full->since == front->room && full->owner == owner_of(connection)) {
        exchange_refuse(connection, 429, full->retry_after_s, "the queue is full: try again in %u s",
                        full->retry_after_s);
        return;
    }
    struct flight *flight = flight_new(front, exchange->owner);
    if (flight && request_parse(body, exchange->content_type, &front->environments, &exchange->limits, flight->nonce,
                                &request, &error)) {
        exchange_refuse(connection, error.http, error.http == 503, "%s", error.text);
        free(flight);
        return;
    }
    if (flight && load(front, flight, &request) && heed(front, flight, exchange)) {
        flight->client = connection;
        memcpy(flight->key, exchange->key, sizeof flight->key);
        memcpy(flight->request_id, exchange->request_id, sizeof flight->request_id);
        flight->owner = owner_of(connection);
        connection->exchange.flight = flight;
        send_off(front, flight);
    } else {
        exchange_refuse(connection, 503, 1, "the server has no memory or descriptors left for this request");
        if (flight)
            flight_free(front, flight);
    }
    request_free(&request);
}

int flight_probe(struct front *front, const char *script)
{
    struct request request = {0};
    struct request_error error;
    struct flight *flight = flight_new(front, 0);
    if (!flight)
        return -1;
    if (request_parse(text_span(script), "text/x-python", &front->environments, &front->setup.limits, flight->nonce,
                      &request, &error)) {
        free(flight);
        return -1;
    }
    request.limits.value[LIMIT_DISK] = limit_table[LIMIT_DISK].least;
    flight->probe = true;
    bool loaded = load(front, flight, &request);
    if (loaded)
        send_off(front, flight);
    else
        flight_free(front, flight);
    request_free(&request);
    return loaded ? 0 : -1;
}

/* ---- the end ---- */

static void wake(struct front *front, struct flight *flight)
{
    struct connection *client = take(flight->client);
    client->exchange.flight = NULL;
    exchange_wake(front, client);
}

static uint64_t denials(const struct facts *facts)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < facts->denials && i < DENIALS_KEPT; i++)
        sum += facts->denied[i].count;
    return sum;
}

/* The audit line: who ran what, how it ended, and what it used. */
static void log_flight(const struct front *front, const struct flight *flight, const struct outcome *outcome)
{
    const struct facts *facts = &flight->facts;
    char digest[DIGEST_HEX + 1];
    log_event(LOG_INFO, "run", log_text("id", flight->name), log_text("status", status_table[outcome->status].name),
              log_text("script_sha256", digest_hex(flight->digest, digest)),
              log_text("environment", environment_name(front, flight)), log_number("http", flight->http),
              log_number("queued_ms", facts->queued_us / 1000), log_number("wall_ms", facts->wall_us / 1000),
              log_number("cpu_ms", facts->cpu_us / 1000), log_number("memory_peak_bytes", facts->memory_peak_bytes),
              log_number("stdout_bytes", flight->streams[STREAM_STDOUT].total),
              log_number("stderr_bytes", flight->streams[STREAM_STDERR].total), log_number("denials", denials(facts)),
              log_text("request", flight->request_id),
              *flight->key ? log_text("key", flight->key) : (struct log_field){.name = NULL});
}

static struct record_stream record_stream(const struct stream *stream)
{
    struct span kept = stream_kept(stream);
    return (struct record_stream){.kept = kept, .truncated = stream->total > kept.length, .total = stream->total};
}

/* The client of a run that is kept has its answer now, and the flight nobody any more who waits for it. */
static void answer_client(struct front *front, struct flight *flight)
{
    struct connection *client = flight->client;
    char location[sizeof flight->name + 16];
    if (flight->async) {
        snprintf(location, sizeof location, "/v1/runs/%s", flight->name);
        follow_state(client, MHD_HTTP_ACCEPTED, flight->run);
        exchange_header(client, MHD_HTTP_HEADER_LOCATION, location);
        exchange_header(client, "Preference-Applied", "respond-async");
    } else {
        follow_events(client, flight->run, 0, true);
    }
    wake(front, flight);
}

/* Everything is known: what is said of it, to the client that waits, or to all who will ask. */
static void say_end(struct front *front, struct flight *flight, struct record *record)
{
    struct record_words words;
    struct buffer body = {0};
    size_t result_at = 0;
    if (flight->record) {
        record_words_fill(&words, &flight->facts, record);
        result_at = run_record(record, &body);
        flight->http = flight->async ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK;
    } else {
        flight->http = execute_body(record, &body);
    }
    if (flight->run && !body.failed) {
        const bool cut[EVENTS_STREAMS] = {record->out.truncated, record->err.truncated};
        size_t result_length = record->outcome->status == STATUS_OK ? record->report->result.length : 0;
        struct kept *run = flight->run;
        events_end(&run->events, &body, result_at, result_length, cut);
        if (flight->client)
            answer_client(front, flight);
        flight->run = NULL;
        runs_over(&front->runs, run, front->now_ms);
    } else if (flight->client && body.failed) {
        exchange_refuse(flight->client, flight->http = 503, 1, "the server has no memory left for this answer");
        wake(front, flight);
    } else if (flight->client) {
        exchange_answer(flight->client, flight->http, "application/json", &body);
        wake(front, flight);
    }
    buffer_free(&body);
}

/* What is known of every run, whoever asked for it. */
static void account(struct front *front, const struct flight *flight, const struct outcome *outcome)
{
    if (flight->probe) {
        probe_over(front, outcome->status == STATUS_OK ? NULL : outcome->text);
        return;
    }
    if (outcome->status != STATUS_LOST && outcome->status != STATUS_CANCELLED)
        probe_seen(front);
    metrics_run(&front->metrics, outcome->status, flight->environment, &flight->facts,
                flight->streams[STREAM_STDOUT].total + flight->streams[STREAM_STDERR].total,
                front_clock_us() - flight->asked_us);
    log_flight(front, flight, outcome);
}

void flight_finish(struct front *front, struct flight *flight)
{
    struct stream *stream = &flight->streams[STREAM_REPORT];
    struct report report;
    struct outcome outcome;
    struct record record = {
        .id = flight->name,
        .environment = environment_name(front, flight),
        .outcome = &outcome,
        .facts = &flight->facts,
        .report = &report,
        .out = record_stream(&flight->streams[STREAM_STDOUT]),
        .err = record_stream(&flight->streams[STREAM_STDERR]),
    };
    /* What we cancelled it for holds even where the run was quicker than the kill: the same script, the same answer.
     * Time is the supervisor's word. */
    if (flight->facts.cause == CAUSE_NONE && flight->cancelled != CAUSE_WALL)
        flight->facts.cause = flight->cancelled;
    bool unread = report_parse(stream_kept(stream), flight->nonce, &flight->limits, &report) != 0;
#ifdef SAFE_SCRIPT_ABLATION
    believe(front->setup.without, stream_kept(stream), &report, &flight->facts);
#endif
    if (stream->own.failed || unread) /* no memory */
        flight->facts.cause = CAUSE_LOST;
    outcome_decide(&flight->facts, &report.verdict, &flight->limits, &outcome);
    if (flight->client || flight->run)
        say_end(front, flight, &record);
    account(front, flight, &outcome);
    flight_free(front, flight);
}

void flight_abandon(struct front *front, struct flight *flight)
{
    flight->client = NULL;
    if (flight->run)
        runs_forget(&front->runs, take(flight->run)); /* its name was told to nobody */
    if (flight->list == &front->unsent) {
        flight_free(front, flight); /* nobody has heard of it */
        return;
    }
    pipes_end(front, flight);
    flight_kill(front, flight, CAUSE_CANCELLED);
    list_leave(flight);
}

void flight_cancel(struct front *front, struct flight *flight)
{
    if (flight->list != &front->unsent) {
        flight_kill(front, flight, CAUSE_CANCELLED);
        return;
    }
    flight->facts.cause = CAUSE_CANCELLED; /* the supervisor has never heard of it */
    flight_finish(front, flight);
}

/* ---- from the supervisor ---- */

/* Where it runs, now that the supervisor has said so. */
static void take_place_of_run(struct front *front, struct flight *flight, uint32_t environment)
{
    struct buffer started = {0};
    if (environment >= ENVIRONMENT_ROWS || environment == flight->environment)
        return;
    flight->environment = environment;
    if (!flight->run)
        return;
    flight->run->environment = environment_name(front, flight);
    run_progress(flight->name, "running", flight->run->environment, &started);
    if (started.failed) {
        buffer_free(&started);
        return;
    }
    buffer_free(&flight->run->events.started);
    flight->run->events.started = started;
}

/* A first start, or another one because something outside killed the first run: what that one wrote never was. */
static void on_started(struct front *front, struct flight *flight, struct wire_message *message)
{
    if (!flight->client && !flight->run && !flight->probe)
        return;
    flight->limits = message->started.limits;
    take_place_of_run(front, flight, message->started.environment);
    flight->streams[STREAM_REPORT].keep = report_most(&flight->limits);
    flight->streams[STREAM_STDOUT].keep = flight->streams[STREAM_STDERR].keep = flight->limits.value[LIMIT_OUTPUT];
#ifdef SAFE_SCRIPT_ABLATION
    if (front->setup.without & WALL_FRONT)
        flight->streams[STREAM_STDOUT].keep = flight->streams[STREAM_STDERR].keep = UINT32_MAX;
#endif
    if (flight->run) {
        events_start(&flight->run->events);
        runs_told(flight->run);
        if (flight->client)
            answer_client(front, flight);
    }
    pipes_take(front, flight, message->fds);
    if (!flight->deadline_ms)
        flight->deadline_ms = front->now_ms + flight->limits.value[LIMIT_WALL] + LATE_MS;
    if (!front->clock_ms || flight->deadline_ms < front->clock_ms)
        front->clock_ms = flight->deadline_ms;
    if (flight->run)
        pipes_watch(front, flight); /* somebody may be waiting for its first word */
    else
        list_join(flight, &front->young, front->now_ms);
}

static void on_queued(struct front *front, struct flight *flight)
{
    if (flight->client && flight->run)
        answer_client(front, flight);
}

static void on_outcome(struct front *front, struct flight *flight, const struct facts *facts)
{
    flight->over = true;
    flight->facts = *facts;
    list_leave(flight);
    pipes_drain(front, flight);
    flight_finish(front, flight);
}

static void on_refused(struct front *front, struct flight *flight, const struct wire_refused *refused)
{
    static const struct {
        unsigned http;
        const char *text;
    } rows[] = {
        [REFUSED_FULL] = {429, "the queue is full"},
        [REFUSED_CROWDED] = {429, "the queue is full"},
        [REFUSED_RATE] = {429, "the key's rate is spent"},
        [REFUSED_KEY] = {403, "this key is not valid here"},
        [REFUSED_LATE] = {429, "no place came free in time"},
        [REFUSED_STARTING] = {503, "the server is starting"},
        [REFUSED_DRAINING] = {503, "the server is stopping"},
        [REFUSED_BROKEN] = {503, "the server can make no jail any more"},
    };
    size_t row = refused->reason < COUNT(rows) ? refused->reason : REFUSED_BROKEN;
    unsigned retry_after_s = refused->retry_after_s ? refused->retry_after_s : 1;
    if (refused->reason == REFUSED_FULL)
        *full_for(front, flight->owner) = (struct full){flight->owner, retry_after_s, front->room};
    if (flight->client) {
        if (refused->reason == REFUSED_KEY)
            exchange_refuse(flight->client, rows[row].http, 0, "%s", rows[row].text);
        if (refused->reason == REFUSED_BROKEN && flight->environment != ENVIRONMENT_DEFAULT)
            exchange_refuse(flight->client, rows[row].http, retry_after_s,
                            "the environment \"%s\" cannot be had: GET /v1/environments says why",
                            environment_name(front, flight));
        exchange_refuse(flight->client, rows[row].http, retry_after_s, "%s: try again in %u s", rows[row].text,
                        retry_after_s);
        wake(front, flight);
    } else if (flight->run) { /* it was promised: the server's fault */
        flight->facts.cause = CAUSE_LOST;
        flight_finish(front, flight);
        return;
    } else if (flight->probe && (refused->reason == REFUSED_CROWDED || refused->reason == REFUSED_LATE)) {
        probe_put_off(front);
    } else if (flight->probe) {
        probe_over(front, rows[row].text);
    }
    flight_free(front, flight);
}

void flight_message(struct front *front, struct wire_message *message)
{
    /* Every one of these begins with the run's id. */
    struct flight *flight = find(front, message->started.id);
    if (flight) {
        if (message->type == WIRE_QUEUED)
            on_queued(front, flight);
        else if (message->type == WIRE_STARTED)
            on_started(front, flight, message);
        else if (message->type == WIRE_OUTCOME)
            on_outcome(front, flight, &message->outcome.facts);
        else if (message->type == WIRE_REFUSED)
            on_refused(front, flight, &message->refused);
    }
    wire_close_fds(message);
}

/* Without its pipes nobody will know what it said: it is lost, and not to be started again. */
void flight_starved(struct front *front, uint64_t id)
{
    struct flight *flight = find(front, id);
    if (!flight)
        return;
    log_event(LOG_WARNING, "a run is lost: no descriptors for its pipes", log_text("id", flight->name));
    flight->streams[STREAM_REPORT].own.failed = true;
    flight_kill(front, flight, CAUSE_CANCELLED);
}

/* ---- time ---- */

/* Asks for the end of runs that are past their deadline, and finds the next one. */
static void look_at_clock(struct front *front)
{
    front->clock_ms = 0;
    for (size_t i = 0; i < front->flight_capacity; i++) {
        struct flight *flight = front->flights[i];
        if (!flight || !flight->deadline_ms || flight->cancelled == CAUSE_WALL)
            continue;
        if (flight->deadline_ms <= front->now_ms) {
            flight->cancelled = CAUSE_WALL;
            tell_cancel(front, flight);
        } else if (!front->clock_ms || flight->deadline_ms < front->clock_ms) {
            front->clock_ms = flight->deadline_ms;
        }
    }
}

int flight_deadlines(struct front *front)
{
    struct flight *flight;
    while ((flight = front->young.first) && flight->since_ms + YOUNG_MS <= front->now_ms) {
        list_leave(flight);
        pipes_watch(front, flight);
    }
    if (front->clock_ms && front->clock_ms <= front->now_ms)
        look_at_clock(front);
    if (front->young.first)
        return YOUNG_MS;
    return front->clock_ms ? (int)(front->clock_ms - front->now_ms) : -1;
}

void flights_lost(struct front *front)
{
    for (size_t i = 0; i < front->flight_capacity; i++) {
        struct flight *flight = front->flights[i];
        if (!flight)
            continue;
        if (flight->client)
            wake(front, flight);
        flight_free(front, flight);
    }
}

void flights_close(struct front *front)
{
    flights_lost(front);
    free(take(front->flights));
    front->flight_capacity = 0;
}
