/* The keys, from their file to who needs to know: a row for each owner here, and the hashes to the front. */
#include "engine.h"

#include "log.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

int keys_read(const struct settings *settings, struct key_list *list)
{
    *list = (struct key_list){0};
    struct limits most = settings_limits_most(settings);
    return settings->keys_file ? keyfile_load(settings->keys_file, &most, list) : 0;
}

void keys_forget(struct key_list *list)
{
    explicit_bzero(list->keys, list->count * sizeof *list->keys);
    free(take(list->keys));
    list->count = 0;
}

/* Returns a sealed memfd, or -1 with list->error. */
static int write_keys(struct key_list *list)
{
    size_t size = list->count * sizeof *list->keys;
    auto_fd int fd = memfd_create("keys", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && write(fd, list->keys, size) == (ssize_t)size &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0)
        return take_fd(&fd);
    snprintf(list->error, sizeof list->error, "the keys' memory: %s", strerror(errno));
    return -1;
}

int keys_take(struct engine *engine, struct key_list *list)
{
    bool needed = engine->settings->keys_file && !engine->front_once;
    if (owners_set(engine->owners, &engine->queue, needed ? list : NULL))
        return -1;
    int fd = needed ? write_keys(list) : -1;
    if (needed && fd < 0)
        return -1;
    drop_fd(&engine->keys);
    engine->keys = fd;
    engine->key_count = (uint32_t)list->count;
    if (needed)
        log_event(LOG_INFO, "keys", log_number("count", list->count));
    front_tell_keys(engine);
    return 0;
}

void front_tell_keys(struct engine *engine)
{
    struct wire_message message = {.type = WIRE_KEYS, .fds = {engine->keys}, .fd_count = engine->keys >= 0};
    message.keys = (struct wire_keys){.needed = engine->keys >= 0, .count = engine->key_count};
    front_send(engine, &message);
}
