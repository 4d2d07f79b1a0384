/* Who may do what: API keys, and the origins of other sites' pages; and the id by which a request is spoken of. */
#include "front.h"
#include "head.h"
#include "log.h"
#include "origins.h"
#include "scope.h"
#include "text.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/* ---- keys ---- */

int access_keys(struct front *front, struct wire_message *message)
{
    const struct wire_keys *told = &message->keys;
    size_t size = told->count * sizeof(struct key);
    void *keys = NULL;
    if (told->count > KEYS_MOST || (told->count && !message->fd_count))
        return -1;
    if (told->count && (keys = mmap(NULL, size, PROT_READ, MAP_SHARED, message->fds[0], 0)) == MAP_FAILED)
        return -1;
    if (front->keys)
        munmap(front->keys, front->key_count * sizeof *front->keys);
    front->keys = keys;
    front->key_count = told->count;
    front->keys_needed = told->needed;
    return 0;
}

void access_check(struct front *front, struct connection *connection, const struct head *head)
{
    struct exchange *exchange = &connection->exchange;
    uint8_t hash[DIGEST_BYTES];
    size_t length;
    for (int i = 0; i < LIMIT_COUNT; i++)
        exchange->limits.value[i] = UINT64_MAX;
    if (!front->keys_needed || (exchange->route && exchange->route->open))
        return;
    const char *text = key_offered(head->value[HEADER_AUTHORIZATION], &length);
    if (!text) {
        exchange_refuse(connection, MHD_HTTP_UNAUTHORIZED, 0,
                        "a key is needed: send it as \"Authorization: Bearer KEY\"");
        exchange_header(connection, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
        return;
    }
    digest_sha256((struct span){(const uint8_t *)text, length}, hash);
    const struct key *key = key_find(front->keys, front->key_count, hash);
    if (!key) {
        exchange_refuse(connection, MHD_HTTP_FORBIDDEN, 0, "this key is not valid here");
        return;
    }
    exchange->owner = key->owner;
    memcpy(exchange->key, key->id, sizeof exchange->key);
    exchange->limits = key->limits;
}

/* ---- other origins ---- */

/* The methods of the path, as a browser is told them. */
bool access_preflight(struct front *front, struct connection *connection, const struct head *head, const char *method)
{
    static const char headers[] = "Authorization, Content-Type, Accept, Prefer, Last-Event-ID, " REQUEST_ID_HEADER,
                      seconds[] = "600";
    struct exchange *exchange = &connection->exchange;
    struct buffer nothing = {0};
    char allow[64];
    if (strcmp(method, "OPTIONS") != 0 || !exchange->route || !head->value[HEADER_ORIGIN] ||
        !head->value[HEADER_CORS_METHOD] || !*front->setup.cors_origins)
        return false;
    if (!exchange->origin) {
        exchange_refuse(connection, MHD_HTTP_FORBIDDEN, 0, "the origin %.128s is not allowed here",
                        head->value[HEADER_ORIGIN]);
        return true;
    }
    exchange_answer(connection, MHD_HTTP_NO_CONTENT, NULL, &nothing);
    exchange_header(connection, "Access-Control-Allow-Methods", route_allow(exchange->route, allow, sizeof allow));
    exchange_header(connection, "Access-Control-Allow-Headers", headers);
    exchange_header(connection, "Access-Control-Max-Age", seconds);
    return true;
}

/* ---- the request's id ---- */

static bool id_fine(const char *id)
{
    size_t length = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~:/+=@-");
    return length > 0 && length <= REQUEST_ID_BYTES && !id[length];
}

void access_name(char id[REQUEST_ID_BYTES + 1], const char *given)
{
    static const char prefix[] = "req_";
    uint8_t random[16];
    if (given && id_fine(given)) {
        memcpy(id, given, strlen(given) + 1);
        return;
    }
    if (getrandom(random, sizeof random, 0) != sizeof random)
        memset(random, 0, sizeof random);
    memcpy(id, prefix, sizeof prefix);
    text_hex(random, sizeof random, id + sizeof prefix - 1);
}

/* ---- what stands in the head of every answer ---- */

void access_headers(struct front *front, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    exchange_header(connection, REQUEST_ID_HEADER, exchange->request_id);
    if (!*front->setup.cors_origins)
        return;
    if (!origins_any(front->setup.cors_origins))
        exchange_header(connection, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ORIGIN);
    if (!exchange->origin)
        return;
    exchange_header(connection, "Access-Control-Allow-Origin", exchange->origin);
    exchange_header(connection, "Access-Control-Expose-Headers",
                    "Location, Preference-Applied, Retry-After, " REQUEST_ID_HEADER);
}
