/* What a request asks for beside its body: Accept (RFC 9110, 12.5.1), Prefer (RFC 7240), Last-Event-ID. Pure. Every
 * byte is a stranger's; what is not understood is passed over, as these headers are meant, but for Last-Event-ID. */
#ifndef SAFE_SCRIPT_WISHES_H
#define SAFE_SCRIPT_WISHES_H

#include <stdbool.h>
#include <stdint.h>

/* How much a media type is wanted, by the most exact range that names it. */
struct wish {
    uint16_t quality;  /* in thousandths */
    uint8_t exactness; /* of that range: 0: none, 1: all types, 2: a type, 3: a subtype */
};

/* Zero-initialised: no such header. */
struct wishes {
    struct wish json, events;
    bool async; /* Prefer: respond-async */
};

/* Each takes one line of its header, of which there may be several. */
void wishes_accept(struct wishes *wishes, const char *value);
void wishes_prefer(struct wishes *wishes, const char *value);

/* Whether an event stream is wanted more than JSON. Where neither is wanted, or nothing was said, it is JSON. */
bool wishes_stream(const struct wishes *wishes);

/* The decimal number in a Last-Event-ID; 0 where it is empty or NULL. Returns false when it is not one. */
bool last_event_id(const char *value, uint64_t *id);

#endif
