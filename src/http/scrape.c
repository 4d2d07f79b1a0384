/* GET /metrics: those who wait for the supervisor's numbers. However many ask at once, it is asked once. */
#include "front.h"
#include "log.h"
#include "scope.h"

/* ---- those who wait ---- */

static struct connection *next_waiting(struct front *front)
{
    struct connection *connection = front->scraping;
    if (connection) {
        front->scraping = take(connection->exchange.next_scraping);
        connection->exchange.scraping = false;
    }
    return connection;
}

void scrape_end(struct front *front, struct connection *connection)
{
    struct connection **at = &front->scraping;
    if (!connection->exchange.scraping)
        return;
    while (*at != connection)
        at = &(*at)->exchange.next_scraping;
    *at = take(connection->exchange.next_scraping);
    connection->exchange.scraping = false;
}

/* ---- the question ---- */

static void ask(struct front *front)
{
    const struct wire_message message = {.type = WIRE_ASK_STATS};
    front->ask_unsent = !front_tell(front, &message);
}

void scrape_flush(struct front *front)
{
    if (front->ask_unsent && !front->supervisor_full)
        ask(front);
}

void scrape(struct front *front, struct connection *connection)
{
    bool asked = front->scraping;
    if (front->end_ms) {
        exchange_refuse(connection, 503, 1, "the server is stopping");
        return;
    }
    connection->exchange.scraping = true;
    connection->exchange.next_scraping = front->scraping;
    front->scraping = connection;
    if (!asked)
        ask(front);
}

/* ---- the answer ---- */

static struct metrics_now look(const struct front *front)
{
    struct metrics_now now = {
        .buffered_bytes = front->buffered,
        .kept_runs = front->runs.count,
        .kept_bytes = front->runs.bytes,
        .ready = probe_ready(front),
        .environments = &front->environments,
    };
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        for (const struct connection *each = front->queues[i].oldest; each; each = each->newer)
            now.connections[i]++;
    }
    for (size_t i = 0; i < front->flight_capacity; i++)
        now.flights += front->flights[i] != NULL;
    return now;
}

void scrape_answer(struct front *front, const struct wire_stats *from_supervisor)
{
    struct metrics_now now = look(front);
    struct wire_stats stats = *from_supervisor;
    stats.log_lost[PROCESS_FRONT] = log_lost();
    for (struct connection *connection; (connection = next_waiting(front));) {
        struct buffer page = {0};
        metrics_page(&front->metrics, &now, &stats, &page);
        exchange_answer(connection, MHD_HTTP_OK, METRICS_TYPE, &page);
        exchange_wake(front, connection);
    }
}

void scrape_lost(struct front *front)
{
    for (struct connection *connection; (connection = next_waiting(front));) {
        exchange_refuse(connection, 503, 1, "the server is stopping");
        exchange_wake(front, connection);
    }
}
