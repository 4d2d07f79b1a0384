/* What flight.c (a run's life) and pipes.c (what it writes) share; the rest of the front sees front.h only. */
#ifndef SAFE_SCRIPT_FLIGHT_H
#define SAFE_SCRIPT_FLIGHT_H

#include "front.h"

#include "digest.h"
#include "run.h"

enum stream_kind { STREAM_REPORT, STREAM_STDOUT, STREAM_STDERR, STREAM_COUNT };

struct stream {
    struct watch watch;
    struct flight *flight;
    int fd; /* -1: ended, or not begun */
    bool watched;
    struct buffer own; /* what is kept of it, unless a run that is kept does that */
    uint64_t keep, total;
};

struct flight {
    struct stream streams[STREAM_COUNT]; /* first: the first watch's address is the flight's */
    uint64_t id;
    char name[RUN_NAME_BYTES + 1];
    uint8_t nonce[NONCE_BYTES];
    struct connection *client; /* NULL: gone, or answered */
    struct kept *run;          /* NULL: nobody can ask for it by its name */
    bool record, async, probe;
    uint32_t environment, warmer; /* asked for, once it has started the one where it is; another that may run it */
    uint8_t digest[DIGEST_BYTES]; /* of the script, for the log */
    struct limits limits;
    uint32_t owner;
    char key[KEY_ID_BYTES + 1], request_id[REQUEST_ID_BYTES + 1]; /* for the log */
    uint64_t job_bytes; /* in memory until the run is over, counted in front->buffered */
    int job, input;     /* until they are sent */
    bool cancel_unsent;
    enum cause cancelled; /* what we cancelled it for */
    bool over;
    struct facts facts;
    unsigned http;     /* of the answer; 0: there was nobody to answer */
    uint64_t asked_us; /* when its request was whole */
    uint64_t since_ms;
    uint64_t deadline_ms; /* of the run, from its first start; 0: not started */
    struct flight_list *list;
    struct flight *previous, *next;
};

/* Asks for the end of a run that is not over. */
void flight_kill(struct front *front, struct flight *flight, enum cause cause);

/* Everything is known: the facts and all that it wrote. Frees the flight. */
void flight_finish(struct front *front, struct flight *flight);

void pipes_open(struct flight *flight);
void pipes_free(struct front *front, struct flight *flight);

/* Takes the pipes of a start; what an earlier one wrote is forgotten. */
void pipes_take(struct front *front, struct flight *flight, int fds[STREAM_COUNT]);

/* Has our epoll watch them, so that they are read as they fill. */
void pipes_watch(struct front *front, struct flight *flight);

/* Reads what a run that is over has left in them. Nothing comes after it, whoever still has an end of them open. */
void pipes_drain(struct front *front, struct flight *flight);

/* Closes them, ended or not. */
void pipes_end(struct front *front, struct flight *flight);

struct span stream_kept(const struct stream *stream);

#endif
