/* Runs that are kept, on a connection: their events, their state, their end. Each reader goes at its own pace, from
 * what the run keeps anyway; when the run is forgotten, its readers' connections end. */
#include "front.h"
#include "record.h"
#include "scope.h"

#include <string.h>

/* A response's own buffer: of records, and of streams to clients of HTTP/1.0. */
enum { RECORD_BLOCK = 32 * 1024, EVENTS_BLOCK = 1024 };

/* Readers of one run: each costs us a message for each thing that a script writes. */
enum { FOLLOWERS_MOST = 100 };

static void follow(struct connection *connection, struct kept *run, void (*told)(struct watcher *watcher))
{
    struct follow *follow = &connection->exchange.follow;
    follow->connection = connection;
    follow->watcher.told = told;
    watcher_join(&follow->watcher, run);
}

static struct connection *connection_of(struct watcher *watcher)
{
    _Static_assert(offsetof(struct follow, watcher) == 0, "a watcher is its follow");
    return ((struct follow *)watcher)->connection;
}

void follow_end(struct front *front, struct connection *connection)
{
    struct follow *follow = &connection->exchange.follow;
    struct kept *run = follow->watcher.run;
    watcher_leave(&follow->watcher);
    events_reader_free(&follow->reader);
    if (follow->owns && run && run->flight)
        flight_cancel(front, run->flight);
    follow->owns = false;
}

/* The part that the client has must not pass for the whole. libmicrohttpd (0.9.75, 1.0.1) forgets a connection that is
 * closed from here until its next event, and there may be none; one that is resumed it looks at. */
static ssize_t cut_off(struct connection *connection)
{
    MHD_suspend_connection(connection->mhd);
    MHD_resume_connection(connection->mhd);
    connection->front->run_mhd = true;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* What is said of runs is their owners' alone, and changes. */
static void respond(struct connection *connection, unsigned http, const char *content_type, uint64_t size, size_t block,
                    MHD_ContentReaderCallback give)
{
    exchange_respond(connection, http, content_type,
                     MHD_create_response_from_callback(size, block, give, connection, NULL));
    exchange_header(connection, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

/* ---- events ---- */

static void told_of_event(struct watcher *watcher)
{
    struct connection *connection = connection_of(watcher);
    if (connection->exchange.asleep)
        connection_phase(connection, PHASE_SENDING);
    exchange_wake(connection->front, connection);
}

/* libmicrohttpd asks for more when all before has gone to the client's socket. */
static ssize_t give_events(void *context, uint64_t position, char *bytes, size_t size)
{
    struct connection *connection = context;
    struct follow *follow = &connection->exchange.follow;
    const struct kept *run = follow->watcher.run;
    ssize_t length = run ? events_read(&run->events, &follow->reader, bytes, size) : -1;
    (void)position;
    if (length > 0) {
        connection_phase(connection, PHASE_SENDING);
        return length;
    }
    if (length == 0 && events_done(&run->events, &follow->reader))
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (length < 0 || connection->gone)
        return cut_off(connection);
    exchange_sleep(connection, PHASE_SILENT);
    return 0;
}

void follow_events(struct connection *connection, struct kept *run, uint64_t after, bool owns)
{
    struct follow *following = &connection->exchange.follow;
    follow(connection, run, told_of_event);
    following->reader = (struct events_reader){.position = after};
    following->owns = owns;
    respond(connection, MHD_HTTP_OK, "text/event-stream", MHD_SIZE_UNKNOWN, EVENTS_BLOCK, give_events);
    exchange_header(connection, "X-Accel-Buffering", "no"); /* nginx */
    /* To HEAD libmicrohttpd (0.9.75) sends the last chunk of a body that it does not send, and the client would take
     * it for the next answer's beginning: so without chunks, and the connection ends. */
    if (connection->exchange.head_only && connection->exchange.answer.response)
        MHD_set_response_options(connection->exchange.answer.response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
}

void follow_beat(struct front *front, struct connection *connection)
{
    events_beat(&connection->exchange.follow.reader);
    connection_phase(connection, PHASE_SENDING);
    exchange_wake(front, connection);
}

/* ---- the state ---- */

static void told_of_nothing(struct watcher *watcher)
{
    (void)watcher;
}

static ssize_t give_record(void *context, uint64_t position, char *bytes, size_t size)
{
    struct connection *connection = context;
    const struct kept *run = connection->exchange.follow.watcher.run;
    if (!run)
        return cut_off(connection);
    size_t left = run->events.record.length - (size_t)position, length = left < size ? left : size;
    memcpy(bytes, run->events.record.bytes + position, length);
    return (ssize_t)length;
}

void follow_state(struct connection *connection, unsigned http, struct kept *run)
{
    struct buffer body = {0};
    if (run->events.over) {
        follow(connection, run, told_of_nothing);
        respond(connection, http, "application/json", run->events.record.length, RECORD_BLOCK, give_record);
        return;
    }
    run_progress(run->name, run->events.origin ? "running" : "queued", run->environment, &body);
    exchange_answer(connection, http, "application/json", &body);
    exchange_header(connection, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

/* ---- routes ---- */

/* The run that the path names; NULL where there is none, which is answered. */
static struct kept *find(struct front *front, struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    struct kept *run = NULL;
    enum runs_answer answer = runs_find(&front->runs, exchange->name, exchange->owner, &run);
    if (answer == RUNS_UNKNOWN)
        exchange_refuse(connection, MHD_HTTP_NOT_FOUND, 0, "there is no run with this id");
    else if (answer == RUNS_GONE)
        exchange_refuse(connection, MHD_HTTP_GONE, 0, "the record of this run is not kept, or no longer");
    return run;
}

void run_state(struct front *front, struct connection *connection)
{
    struct kept *run = find(front, connection);
    if (run)
        follow_state(connection, MHD_HTTP_OK, run);
}

void run_events(struct front *front, struct connection *connection)
{
    struct kept *run = find(front, connection);
    struct buffer nothing = {0};
    uint64_t after;
    if (!run)
        return;
    if (!last_event_id(connection->exchange.last_event_id, &after) || after > events_last(&run->events))
        exchange_refuse(connection, MHD_HTTP_BAD_REQUEST, 0, "Last-Event-ID is not the id of an event of this run");
    else if (run->events.over && after == events_last(&run->events))
        exchange_answer(connection, MHD_HTTP_NO_CONTENT, NULL, &nothing); /* which tells an EventSource to stop */
    else if (run->watcher_count >= FOLLOWERS_MOST)
        exchange_refuse(connection, MHD_HTTP_TOO_MANY_REQUESTS, 1, "%d others follow this run", FOLLOWERS_MOST);
    else
        follow_events(connection, run, after, false);
}

static void told_of_end(struct watcher *watcher)
{
    struct connection *connection = connection_of(watcher);
    struct kept *run = watcher->run;
    if (run && !run->events.over)
        return;
    watcher_leave(watcher);
    if (run)
        follow_state(connection, MHD_HTTP_OK, run);
    exchange_wake(connection->front, connection);
}

void run_delete(struct front *front, struct connection *connection)
{
    struct kept *run = find(front, connection);
    struct buffer nothing = {0};
    if (!run)
        return;
    if (run->events.over) {
        runs_forget(&front->runs, run);
        exchange_answer(connection, MHD_HTTP_NO_CONTENT, NULL, &nothing);
        return;
    }
    follow(connection, run, told_of_end);
    flight_cancel(front, run->flight);
}
