/* API keys: what the supervisor and the front know of one, and how a client's is told from others. A key is "ss_" and
 * 256 random bits in base64url; only its SHA-256 is kept (there is nothing to guess, so nothing that a slower hash
 * would slow down). The front looks keys up; the supervisor counts what each has running. Neither the zygote nor a run
 * ever has them in its memory: both are other programs, started with no descriptor of theirs. */
#ifndef SAFE_SCRIPT_KEY_H
#define SAFE_SCRIPT_KEY_H

#include "digest.h"
#include "limit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEY_ID_BYTES = 32,
    KEY_TEXT_BYTES = 46,    /* of a key as it is given out */
    KEY_OFFERED_MOST = 128, /* bytes; what a client sends and is longer is no key */
    KEYS_MOST = 4096,
};

struct key {
    char id[KEY_ID_BYTES + 1]; /* its name, for people and logs; no secret */
    char created[11];          /* 2026-11-23 */
    uint8_t hash[DIGEST_BYTES];
    uint32_t concurrency; /* runs at once; UINT32_MAX: as the server */
    uint32_t rate, burst; /* runs in period_us, and at once after a pause; rate 0: as many as there is room for */
    uint64_t period_us;
    struct limits limits; /* the server's, or lower */
    uint32_t owner;       /* the supervisor's number for who has it */
};

/* Draws a new key. Returns 0, or -1 without random numbers. */
int key_draw(char text[KEY_TEXT_BYTES + 1]);

/* The key with this hash, or NULL. Takes the same time wherever it stands, and whether it is there or not. */
const struct key *key_find(const struct key *keys, size_t count, const uint8_t hash[DIGEST_BYTES]);

/* 1 to 32 letters, digits, '.', '_' and '-'. */
bool key_id_fine(const char *id);

/* The credentials in the value of an Authorization header: "Bearer TEXT". Returns the text and its length, NULL when it
 * is nothing of that kind. */
const char *key_offered(const char *authorization, size_t *length);

#endif
