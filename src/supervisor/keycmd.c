#include "keycmd.h"

#include "keyfile.h"
#include "scope.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_USAGE = 2 };

static int new_key(const struct settings *settings, char *const arguments[], size_t count, struct key_list *list)
{
    struct limits most = settings_limits_most(settings);
    char text[KEY_TEXT_BYTES + 1];
    if (keyfile_add(settings->keys_file, &most, arguments[0], arguments + 1, count - 1, text, list))
        return -1;
    puts(text);
    fprintf(stderr, "safe-script: key %s is shown this once; a running server takes it after SIGHUP\n", arguments[0]);
    return 0;
}

static int by_id(const void *one, const void *other)
{
    return strcmp(((const struct key *)one)->id, ((const struct key *)other)->id);
}

static int list_keys(const struct settings *settings, char *const arguments[], size_t count, struct key_list *list)
{
    struct limits most = settings_limits_most(settings);
    (void)arguments, (void)count;
    if (keyfile_load(settings->keys_file, &most, list))
        return -1;
    qsort(list->keys, list->count, sizeof *list->keys, by_id);
    for (size_t i = 0; i < list->count; i++) {
        char fields[512];
        const struct key *key = &list->keys[i];
        printf("%-*s  %-10s  %s\n", KEY_ID_BYTES, key->id, *key->created ? key->created : "-",
               keyfile_fields(key, &most, fields, sizeof fields));
    }
    free(take(list->keys));
    return 0;
}

static int revoke_key(const struct settings *settings, char *const arguments[], size_t count, struct key_list *list)
{
    struct limits most = settings_limits_most(settings);
    (void)count;
    if (keyfile_remove(settings->keys_file, &most, arguments[0], list))
        return -1;
    fprintf(stderr, "safe-script: key %s is revoked; a running server refuses it after SIGHUP\n", arguments[0]);
    return 0;
}

static const struct {
    const char *name, *arguments;
    size_t least, most;
    int (*run)(const struct settings *settings, char *const arguments[], size_t count, struct key_list *list);
} verbs[] = {
    {"new", "NAME [FIELD=VALUE …]", 1, SIZE_MAX, new_key},
    {"list", "", 0, 0, list_keys},
    {"revoke", "NAME", 1, 1, revoke_key},
};

int keycmd(const struct settings *settings, const struct rest *rest)
{
    struct key_list list = {0};
    const char *name = rest->count ? rest->argument[0] : "";
    size_t count = rest->count ? (size_t)rest->count - 1 : 0;
    for (size_t i = 0; i < COUNT(verbs); i++) {
        if (strcmp(verbs[i].name, name) != 0)
            continue;
        if (count < verbs[i].least || count > verbs[i].most) {
            fprintf(stderr, "safe-script: usage: safe-script key %s %s\n", name, verbs[i].arguments);
            return EXIT_USAGE;
        }
        if (!settings->keys_file) {
            fputs("safe-script: which file? set keys_file (--keys-file PATH)\n", stderr);
            return EXIT_USAGE;
        }
        if (verbs[i].run(settings, rest->argument + 1, count, &list) == 0)
            return 0;
        fprintf(stderr, "safe-script: %s\n", list.error);
        return EXIT_FAILURE;
    }
    fprintf(stderr, "safe-script: key %s: there are new, list and revoke (see safe-script key --help)\n", name);
    return EXIT_USAGE;
}
