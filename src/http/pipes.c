/* A run's pipes: its report, stdout and stderr, read within their caps. */
#include "flight.h"
#include "report.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

enum {
    CHUNK_BYTES = 64 * 1024, /* of one pipe at a time, which is all that it holds: then the others have their turn */
    CHUNKS_LEFT = 64,        /* at most, of a run that is over */
};

_Static_assert(offsetof(struct flight, streams) == 0 && offsetof(struct stream, watch) == 0, "front_bury() frees it");

/* Which of a kept run's streams it is; -1: none. */
static int output_of(const struct stream *stream)
{
    const struct flight *flight = stream->flight;
    ptrdiff_t output = stream - &flight->streams[STREAM_STDOUT];
    return flight->run && output >= 0 ? (int)output : -1;
}

struct span stream_kept(const struct stream *stream)
{
    int output = output_of(stream);
    const struct buffer *kept = output < 0 ? &stream->own : &stream->flight->run->events.text[output];
    return (struct span){kept->bytes, kept->length};
}

/* Closing alone does not take a pipe out of our epoll while somebody else has it open, too: a child that the supervisor
 * has just forked. */
static void stream_end(struct front *front, struct stream *stream)
{
    if (stream->watched)
        epoll_ctl(front->epoll, EPOLL_CTL_DEL, stream->fd, NULL);
    drop_fd(&stream->fd);
    stream->watched = false;
}

void pipes_end(struct front *front, struct flight *flight)
{
    for (size_t i = 0; i < STREAM_COUNT; i++)
        stream_end(front, &flight->streams[i]);
}

void pipes_free(struct front *front, struct flight *flight)
{
    pipes_end(front, flight);
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        buffer_free(&flight->streams[i].own);
        flight->streams[i].watch.ready = NULL;
    }
}

static void stream_full(struct front *front, struct stream *stream)
{
    struct flight *flight = stream->flight;
    bool report = stream == &flight->streams[STREAM_REPORT];
    if (report && stream->total > stream->keep) {
        flight_kill(front, flight, CAUSE_RESULT);
        buffer_free(&stream->own);
    } else if (!report && stream->total > flight->limits.value[LIMIT_OUTPUT] * OUTPUT_KILL_FACTOR) {
        flight_kill(front, flight, CAUSE_OUTPUT);
    }
}

static void stream_keep(struct stream *stream, const char *bytes, size_t length)
{
    int output = output_of(stream);
    if (output < 0) {
        buffer_append(&stream->own, bytes, length);
        return;
    }
    if (length == 0)
        return;
    events_output(&stream->flight->run->events, (unsigned)output, bytes, length);
    runs_told(stream->flight->run);
}

/* Reads what is there, at most `chunks` times. Once is enough where epoll tells us of the rest: a second read would
 * mostly find nothing, or help whoever writes the most. */
static void stream_read(struct front *front, struct stream *stream, int chunks)
{
    static char chunk[CHUNK_BYTES];
    while (stream->fd >= 0 && chunks-- > 0) {
        ssize_t length = read(stream->fd, chunk, sizeof chunk);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length <= 0) {
            stream_end(front, stream);
            return;
        }
        uint64_t room = stream->keep > stream->total ? stream->keep - stream->total : 0;
        stream_keep(stream, chunk, room < (size_t)length ? (size_t)room : (size_t)length);
        stream->total += (size_t)length;
        stream_full(front, stream);
    }
}

static void stream_ready(struct front *front, struct watch *watch, uint32_t events)
{
    struct stream *stream = (struct stream *)watch;
    (void)events;
    stream_read(front, stream, 1);
}

void pipes_watch(struct front *front, struct flight *flight)
{
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct stream *stream = &flight->streams[i];
        if (stream->fd < 0 || stream->watched)
            continue;
        stream->watched = front_watch(front, stream->fd, &stream->watch, EPOLLIN) == 0;
        if (!stream->watched) { /* no memory: what it would have said is lost, and that is not the script's fault */
            flight->streams[STREAM_REPORT].own.failed = true;
            stream_end(front, stream);
        }
    }
}

void pipes_drain(struct front *front, struct flight *flight)
{
    for (size_t i = 0; i < STREAM_COUNT; i++)
        stream_read(front, &flight->streams[i], CHUNKS_LEFT);
    pipes_end(front, flight);
}

void pipes_take(struct front *front, struct flight *flight, int fds[STREAM_COUNT])
{
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct stream *stream = &flight->streams[i];
        stream_end(front, stream);
        buffer_free(&stream->own);
        stream->total = 0;
        stream->fd = take_fd(&fds[i]);
        fcntl(stream->fd, F_SETFL, O_NONBLOCK);
    }
}

void pipes_open(struct flight *flight)
{
    for (size_t i = 0; i < STREAM_COUNT; i++)
        flight->streams[i] = (struct stream){.watch.ready = stream_ready, .flight = flight, .fd = -1};
}
