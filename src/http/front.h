/* The front process: speaks HTTP with strangers and believes nobody.
 *
 *   main.c        starts it: descriptor 3 is the supervisor's socket, its first message is WIRE_SETUP
 *   front.c       the event loop: one thread, one epoll; the supervisor's messages; the deadlines
 *   connection.c  a client's connection: accepted, watched, made to end
 *   peek.c        the first look at a connection, before libmicrohttpd is given it
 *   exchange.c    a request and its answer on a connection: libmicrohttpd's callbacks
 *   access.c      keys, other sites' pages, request ids
 *   head.c        the strict check of a request's head
 *   wishes.c      what a request's headers ask for
 *   routes.c      the table of routes, and what answers without a run
 *   openapi.c     the document of all routes, from the tables
 *   probe.c       whether scripts can be run, for GET /readyz
 *   metrics.c     the table of metrics and their text; scrape.c: those who wait for it
 *   flight.c      a run in flight: its job, its outcome; pipes.c: what it writes
 *   runs.c        runs that can be asked for by their ids; events.c: what they have told so far
 *   follow.c      a run's events or record on a connection
 *
 * libmicrohttpd parses and writes HTTP; it runs without threads of its own on an epoll descriptor that ours holds.
 * Ours are the listening sockets and every deadline. Owned by one struct front; nothing is global. */
#ifndef SAFE_SCRIPT_FRONT_H
#define SAFE_SCRIPT_FRONT_H

#include "frames.h"
#include "key.h"
#include "metrics.h"
#include "peek.h"
#include "request.h"
#include "runs.h"
#include "wire.h"
#include "wishes.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

struct front;
struct connection;
struct flight;

/* A thing that our epoll watches: the first member of what owns it. Events are read in batches, so what is dropped
 * while a batch is handled is first made deaf (ready = NULL) and freed after the batch: see front_bury(). */
struct watch {
    void (*ready)(struct front *front, struct watch *watch, uint32_t events);
    struct watch *next_buried;
};

enum {
    LISTENERS_MOST = WIRE_FDS - 2,
    CONNECTIONS_MOST = 100000,
    QUERY_SHOWN = 64,          /* bytes of an unknown query parameter's name that an error shows */
    CONNECTION_MEMORY = 32768, /* libmicrohttpd's memory for each connection: head, lists, answer's head */
};

struct listener {
    struct watch watch;
    int fd;
    int family;
};

/* ---- routes ---- */

enum method { METHOD_GET, METHOD_POST, METHOD_DELETE, METHOD_COUNT }; /* HEAD goes where GET goes */

/* An answer that is a route's own; those of one status stand together. The errors that all routes share are
 * openapi.c's. The last row has http 0. */
struct route_answer {
    unsigned http;
    const char *content_type; /* NULL: no body */
    const char *schema;       /* its name in the document; NULL: text */
    const char *help;
};

/* A header that a route heeds, besides those that all do. The last row has no name. */
struct route_header {
    const char *name, *help;
};

/* What one method does on one path. Rows of the same path stand together. "{id}" in a path is any one segment. */
struct route {
    enum method method;
    bool problem; /* errors as application/problem+json */
    bool record;  /* a run is answered with its whole record */
    const char *path;
    /* Answers a whole request: fills connection->answer, or starts a flight that will. */
    void (*handle)(struct front *front, struct connection *connection);
    const char *help;
    const struct route_answer *answers;
    const struct route_header *headers; /* NULL: none */
    bool open;                          /* nobody needs a key for it */
};

extern const char *const method_names[METHOD_COUNT]; /* "GET" */
extern const struct route route_table[];
extern const size_t route_count;

/* The first row of a path as it stands in the request line, without its query; NULL where there is none. Where it
 * has an {id}, *id is what stands in its place. */
const struct route *route_find(const char *path, size_t length, struct span *id);

/* The row of `method` among those of the path that `first` begins; NULL where it has none. */
const struct route *route_for(const struct route *first, const char *method);

/* The methods of that path, as Allow has them: "GET, HEAD". Returns text. */
const char *route_allow(const struct route *first, char *text, size_t size);

/* True for paths whose errors are problem+json, known or not. */
bool route_is_problem(const char *path, size_t length);

/* The constant answers are made once. `description` holds the bodies that the supervisor wrote, one in each line.
 * Returns 0 or -1. */
int routes_open(struct front *front, int description);
/* Those that show settings, again. */
int routes_settings(struct front *front, int description);
void routes_close(struct front *front);

/* What a connection is waited for, each with its deadline. */
enum phase {
    PHASE_IDLE,    /* the next request's first line; before libmicrohttpd has the connection, its first byte */
    PHASE_LOOKING, /* on a Unix socket, the rest of its first head: see waiting_go_on() */
    PHASE_READING, /* the rest of a request */
    PHASE_WORKING, /* ours: no deadline, the run has one */
    PHASE_SILENT,  /* a run's next event; a comment when there is none for long */
    PHASE_SENDING, /* the client to take its answer, or of a stream what is there of it */
    PHASE_CLOSING, /* shut down by us; libmicrohttpd will see it */
    PHASE_COUNT
};

/* ---- an exchange: one request and its answer ---- */

struct answer {
    unsigned http;                 /* 0: none yet */
    struct MHD_Response *response; /* NULL where there was no memory for it: the connection is closed instead */
    bool last;                     /* the connection ends after it */
};

enum state {
    STATE_HEAD, /* nothing of it but perhaps its first line */
    STATE_BODY, /* the head was fine, or its refusal waits for the whole request */
    STATE_WORK, /* whole; suspended in libmicrohttpd until its answer is there */
    STATE_SENT, /* the answer is libmicrohttpd's to send */
};

/* A run that a connection is told of. */
struct follow {
    struct watcher watcher; /* its told() is given this member */
    struct connection *connection;
    struct events_reader reader;
    bool owns; /* the run is cancelled when the connection ends */
};

#define REQUEST_ID_HEADER "X-Request-Id"
enum { REQUEST_ID_BYTES = 128 };

struct exchange {
    enum state state;
    bool uri_bad; /* bytes that no URI has */
    bool problem;
    bool head_only;            /* the method is HEAD */
    const struct route *route; /* once the head is read, the method's; before, the path's first */
    const char *uri;           /* as libmicrohttpd gave it first; changed in place since, so only good to compare */
    size_t uri_length;
    char query[QUERY_SHOWN]; /* name of the first query parameter, "" without a query */
    const char *content_type, *last_event_id;
    struct wishes wishes;
    char name[RUN_NAME_BYTES + 1]; /* the path's {id}; "" where it can be none */
    uint64_t owner;                /* who asks: only what is his is shown; 0: nobody is told from anybody */
    char key[KEY_ID_BYTES + 1];    /* his key's name; "" where none is needed */
    struct limits limits;          /* his key's; without one there are none but the environments' */
    const char *origin;            /* Access-Control-Allow-Origin; NULL: none */
    char request_id[REQUEST_ID_BYTES + 1];
    uint64_t content_length;
    uint8_t *body;
    size_t body_length, body_capacity;
    struct answer answer;
    bool asleep;           /* suspended in libmicrohttpd */
    struct flight *flight; /* whose first word, or last, the answer waits for */
    bool scraping;         /* the answer waits for the supervisor's numbers … */
    struct connection *next_scraping;
    struct follow follow;
};

/* Starts libmicrohttpd. Returns 0 or -1. */
int exchange_open(struct front *front);

/* Refuses connection's request with one line; format as printf. Does nothing when there is an answer already. A
 * retry_after_s of 0 gives no Retry-After. */
void exchange_refuse(struct connection *connection, unsigned http, unsigned retry_after_s, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Takes body and makes it connection's answer; a body that failed becomes a closed connection. */
void exchange_answer(struct connection *connection, unsigned http, const char *content_type, struct buffer *body);

/* The same with a response of libmicrohttpd's, NULL where there was no memory for it. */
void exchange_respond(struct connection *connection, unsigned http, const char *content_type,
                      struct MHD_Response *response);

/* One more header of the answer. */
void exchange_header(struct connection *connection, const char *name, const char *value);

/* Forgets everything of the exchange; a flight that is still up is cancelled. */
void exchange_end(struct front *front, struct connection *connection);

/* The client has hung up: what was done for it alone ends. */
void exchange_hung_up(struct front *front, struct connection *connection);

/* Suspends a connection whose answer, or the next part of it, takes time; wakes it, if it sleeps, when that is there
 * (or will never be). */
void exchange_sleep(struct connection *connection, enum phase phase);
void exchange_wake(struct front *front, struct connection *connection);

/* ---- access ---- */

struct head;

/* Takes WIRE_KEYS. Returns 0, or -1 when it cannot be had. */
int access_keys(struct front *front, struct wire_message *message);

/* Whose request it is, and under which limits; refuses it where it needs a key and has none that is valid. */
void access_check(struct front *front, struct connection *connection, const struct head *head);

/* Answers a browser that asks whether another site's page may send a request. False when the request is no such
 * question. */
bool access_preflight(struct front *front, struct connection *connection, const struct head *head, const char *method);

/* The request's id: the one that the client gave, where it is fine, or a new one. */
void access_name(char id[REQUEST_ID_BYTES + 1], const char *given);

/* Adds the headers that every answer has. */
void access_headers(struct front *front, struct connection *connection);

/* ---- connections ---- */

/* A connection waits for the whole of its first head. Then it is libmicrohttpd's, and so is its descriptor. */
struct connection {
    struct watch watch; /* of a waiting one, everything; then hang-up only */
    struct front *front;
    struct MHD_Connection *mhd; /* NULL: waiting */
    int fd, family;
    uint32_t owner;  /* who it is to the queue: one of OWNERS, by its address */
    bool watched;    /* our epoll has it */
    bool peek_moves; /* the socket gives each look only what the earlier ones did not see */
    struct peek peek;
    enum phase phase;
    uint64_t since_ms;
    struct connection *older, *newer; /* of the same phase */
    bool gone;                        /* the client has hung up */
    bool reaped;                      /* in the list of those to look at */
    struct connection *next_reaped;
    bool whole; /* the last request was read to its end: nothing of it is left in the socket */
    struct exchange exchange;
};

struct queue {
    struct connection *oldest, *newest;
};

void connection_accept(struct front *front, struct watch *watch, uint32_t events);
void connection_take(struct front *front, struct watch *watch, uint32_t events); /* from the TLS process */
void connection_notify(void *context, struct MHD_Connection *mhd, void **socket_context,
                       enum MHD_ConnectionNotificationCode code);
void connection_phase(struct connection *connection, enum phase phase);

/* Answers and ends a connection past libmicrohttpd, which takes an answer after a request's head or after its body but
 * at no other time. Only while it has no answer of its own to send. */
void connection_refuse(struct connection *connection, unsigned http, const char *text);

/* A client has hung up and its connection has nothing to do: it is to be closed, once libmicrohttpd has read what is
 * left. It may never see the end itself: it asks for edges, and one edge can bring a request and the hang-up after it.
 */
void connection_reap(struct connection *connection);
void connections_reap(struct front *front);

/* Closes what is overdue and returns the milliseconds until the next deadline, or -1. */
int connection_deadlines(struct front *front);
void connections_close(struct front *front);

/* Takes new ones with EPOLLIN, none for now with 0, and none any more. */
void listeners_watch(struct front *front, uint32_t events);
void listeners_close(struct front *front);

/* ---- flights: runs between WIRE_RUN and their last word ---- */

struct flight_list {
    struct flight *first, *last;
};

/* Starts the run that connection's request asks for, or refuses. */
void flight_start(struct front *front, struct connection *connection);

/* The client that waits for its word has gone: the run is cancelled, and only the log will hear of its end. */
void flight_abandon(struct front *front, struct flight *flight);

/* Cancels a run that is kept; it is over at once or when the supervisor says so. */
void flight_cancel(struct front *front, struct flight *flight);

/* Starts a run of ours that nobody waits for but probe.c, with as little disk as there can be. Returns 0 or -1. */
int flight_probe(struct front *front, const char *script);

/* A message of the supervisor's that names a run. The descriptors in it are taken. */
void flight_message(struct front *front, struct wire_message *message);
void flight_starved(struct front *front, uint64_t id); /* it was started, and there are no descriptors for its pipes */

/* Sends what the supervisor's socket had no room for. */
void flight_flush(struct front *front);
int flight_deadlines(struct front *front);
void flights_close(struct front *front);

/* The supervisor has gone: runs that are not over have no answer, and their clients' connections end. */
void flights_lost(struct front *front);

/* ---- following: a run that is kept, on a connection ---- */

/* Answers with the events of a run after the id `after`; the connection owns the run or not. */
void follow_events(struct connection *connection, struct kept *run, uint64_t after, bool owns);

/* Answers with the state of a run, which is its record once it is over. */
void follow_state(struct connection *connection, unsigned http, struct kept *run);

/* A silent stream's connection: a comment. */
void follow_beat(struct front *front, struct connection *connection);

/* The connection follows no run any more; one that it owns is cancelled. */
void follow_end(struct front *front, struct connection *connection);

/* Handlers of routes. */
void run_state(struct front *front, struct connection *connection);
void run_events(struct front *front, struct connection *connection);
void run_delete(struct front *front, struct connection *connection);

/* ---- scraping: GET /metrics ---- */

/* The route's handler: asks the supervisor for its numbers. */
void scrape(struct front *front, struct connection *connection);

/* The supervisor's numbers are there. */
void scrape_answer(struct front *front, const struct wire_stats *stats);

/* Its socket has room again, or it has gone. */
void scrape_flush(struct front *front);
void scrape_lost(struct front *front);

/* The connection waits no longer. */
void scrape_end(struct front *front, struct connection *connection);

/* ---- the probe: whether scripts can be run, seen by running one ---- */

struct probe {
    bool flying, proven;
    bool told;        /* the log: that it failed */
    uint64_t zygote;  /* the one that is ready, 0: none */
    uint64_t of;      /* the one that was when the probe was started */
    uint64_t next_ms; /* the next one is due */
    char reason[128]; /* why it is not proven; "" before the first one is over */
};

/* The supervisor has told its state. */
void probe_state(struct front *front, const struct wire_state *state);

/* The probe is over: failed for that reason, or with NULL not. */
void probe_over(struct front *front, const char *failure);

/* It was not run, because there is something better to do. */
void probe_put_off(struct front *front);

/* A client's script was run. */
void probe_seen(struct front *front);

/* Starts the probe where it is due. Returns the milliseconds until it is, or -1. */
int probe_deadline(struct front *front);

bool probe_ready(const struct front *front);

/* The route's handler. */
void readyz(struct front *front, struct connection *connection);

/* ---- the process ---- */

struct constant {
    unsigned http;
    const char *content_type;
    struct buffer body;
};

enum constant_answer { CONSTANT_HEALTHY, CONSTANT_JAIL, CONSTANT_INDEX, CONSTANT_OPENAPI, CONSTANT_COUNT };

/* An owner whose runs need not ask for a place in the queue: there is none. */
struct full {
    uint32_t owner, retry_after_s;
    uint64_t since; /* the front's `room` then: true while that is the same */
};

enum { FULL_KNOWN = 256 };

struct front {
    struct watch supervisor_watch; /* first: front_ready() is given this member */
    int supervisor, epoll;
    bool supervisor_full; /* its socket had no room: EPOLLOUT is watched */
    struct watch mhd_watch;
    struct MHD_Daemon *daemon;
    bool lax_parser; /* libmicrohttpd before 1.0: head.c looks for what its parser lets pass */
    bool run_mhd;    /* it has work that its epoll descriptor does not show */
    bool done;
    uint64_t end_ms; /* not 0: the supervisor has gone, and we end then, or once every client has its answer */
    int exit_status;
    struct wire_setup setup;
    struct environment_offers environments;
    uint8_t states[ENVIRONMENT_ROWS]; /* enum environment_state of each */
    struct buffer described;          /* one after the other, each without its last member */
    struct span described_at[ENVIRONMENT_ROWS];
    uint64_t owner_seed;       /* nobody outside can tell which addresses are one owner */
    uint32_t most_connections; /* for want of descriptors */
    struct key *keys;          /* read-only, the supervisor's memory */
    size_t key_count;
    bool keys_needed;
    enum serving serving;
    uint64_t now_ms;
    uint64_t clock_ms; /* when the next run is past its deadline, at the earliest; 0: none is known */
    struct watch *buried;
    struct listener clients; /* of the TLS process, with their handshake done; fd is -1 where there is none */
    struct listener listeners[LISTENERS_MOST];
    size_t listener_count;
    uint64_t accept_again_ms; /* 0: the listeners are watched */
    struct queue queues[PHASE_COUNT];
    size_t connections, closing;
    struct connection *admitted; /* being given to libmicrohttpd, which has not named it yet */
    struct connection *reaped;
    struct lingerer *lingering;
    size_t lingering_count;
    uint64_t buffered;
    struct flight **flights; /* by the low half of their id */
    size_t flight_capacity;
    size_t flight_next;   /* where the search for a free place begins */
    uint32_t flight_last; /* the high half of the last id given */
    uint64_t room;        /* how often the queue has had room again; not 0 */
    struct full full[FULL_KNOWN];
    struct flight_list unsent; /* WIRE_RUN found no room */
    struct flight_list young;  /* started so lately that its pipes are not watched yet */
    struct runs runs;
    struct metrics metrics;
    struct probe probe;
    struct connection *scraping;
    bool ask_unsent; /* WIRE_ASK_STATS found no room */
    struct constant constants[CONSTANT_COUNT];
};

/* Serves until the supervisor closes its socket. Takes the descriptors of setup. Returns the exit status. */
int front_run(struct front *front, struct wire_message *setup);

uint64_t front_clock_us(void);

/* Sends to the supervisor. Returns false where its socket has no room: it is then watched, and what waits is sent by
 * flight_flush() and scrape_flush(). */
bool front_tell(struct front *front, const struct wire_message *message);

/* Frees watch's owner (with free) once no event of this batch can name it any more. */
void front_bury(struct front *front, struct watch *watch);

/* Adds fd to our epoll; returns 0 or -1. */
int front_watch(struct front *front, int fd, struct watch *watch, uint32_t events);

#endif
