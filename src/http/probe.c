/* Whether scripts can be run, for GET /readyz: a small script of ours goes the whole way, from the request's check
 * through the supervisor and a jail that the zygote makes for it to the report's check. Once at the start; at once when
 * another zygote has taken over; then as long as clients' scripts do not show the same, every ten seconds.
 *
 * What a zygote's end leaves is not ready before another zygote has been seen to work, though jails that wait may still
 * serve. A server that has more to do than it can is ready: the probe waits, and what was seen last holds. */
#include "front.h"
#include "log.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

enum {
    AGAIN_MS = 10000,
    SOON_MS = 1000, /* after a failure, or where there was no place */
};

static const char script[] = "def main():\n    return {\"ready\": True}\n";

bool probe_ready(const struct front *front)
{
    return front->serving == SERVING_READY && front->probe.proven;
}

void probe_state(struct front *front, const struct wire_state *state)
{
    struct probe *probe = &front->probe;
    front->serving = (enum serving)state->serving;
    if (probe->zygote && !state->zygote && state->serving == SERVING_READY) {
        probe->proven = false;
        snprintf(probe->reason, sizeof probe->reason, "the zygote ended, and another one is being started");
    }
    if (state->zygote != probe->zygote)
        probe->next_ms = 0;
    probe->zygote = state->zygote;
}

void probe_over(struct front *front, const char *failure)
{
    struct probe *probe = &front->probe;
    bool was = probe->proven;
    probe->flying = false;
    if (probe->zygote != probe->of)
        return; /* a word on one that has gone; the next is due at once */
    probe->proven = !failure;
    probe->next_ms = front->now_ms + (failure ? SOON_MS : AGAIN_MS);
    if (failure)
        snprintf(probe->reason, sizeof probe->reason, "a script of the server's own failed: %.80s", failure);
    if (failure && (was || !probe->told))
        log_event(LOG_WARNING, "not ready", log_text("reason", probe->reason));
    else if (!failure && probe->told)
        log_event(LOG_INFO, "ready again");
    probe->told = failure;
}

void probe_put_off(struct front *front)
{
    front->probe.flying = false;
    front->probe.next_ms = front->now_ms + SOON_MS;
}

void probe_seen(struct front *front)
{
    if (front->probe.proven && front->probe.next_ms)
        front->probe.next_ms = front->now_ms + AGAIN_MS;
}

int probe_deadline(struct front *front)
{
    struct probe *probe = &front->probe;
    if (probe->flying || front->serving != SERVING_READY || !probe->zygote || front->end_ms)
        return -1;
    if (probe->next_ms > front->now_ms)
        return (int)(probe->next_ms - front->now_ms);
    probe->flying = true;
    probe->of = probe->zygote;
    if (flight_probe(front, script))
        probe_over(front, "out of memory or descriptors");
    return -1;
}

/* ---- GET /readyz ---- */

void readyz(struct front *front, struct connection *connection)
{
    const struct probe *probe = &front->probe;
    const char *status = "ready", *reason = NULL;
    struct buffer body = {0};
    if (front->serving == SERVING_DRAINING) {
        status = "draining";
        reason = "the server is stopping";
    } else if (front->serving != SERVING_READY) {
        status = "starting";
        reason = "there is no jail yet";
    } else if (!probe->proven) {
        status = probe->told ? "failing" : "starting";
        reason = *probe->reason ? probe->reason : "no script has been run yet";
    }
    buffer_print(&body, "{\"status\":\"%s\"", status);
    if (reason) {
        buffer_print(&body, ",\"reason\":");
        json_put_string(&body, text_span(reason));
    }
    buffer_print(&body, "}");
    exchange_answer(connection, reason ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK, "application/json", &body);
}
