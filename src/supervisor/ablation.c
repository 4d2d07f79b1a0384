#include "ablation.h"

#include "jail.h"

#include <stdlib.h>
#include <string.h>

static uint32_t wall_named(const char *name)
{
    for (int i = 0; i < LAYER_COUNT; i++) {
        if (strcmp(name, layer_names[i]) == 0)
            return LAYER_BIT(i);
    }
    return strcmp(name, "front") == 0 ? WALL_FRONT : 0;
}

static uint32_t walls_named(char *list)
{
    uint32_t walls = 0;
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        uint32_t wall = wall_named(name);
        if (!wall) {
            fprintf(stderr, "safe-script: --without: \"%s\" is no layer\n", name);
            exit(2);
        }
        walls |= wall;
    }
    return walls;
}

uint32_t ablation_take(struct rest *rest)
{
    static const char option[] = "--without=";
    uint32_t walls = 0;
    int kept = 0;
    for (int i = 0; i < rest->count; i++) {
        if (strncmp(rest->argument[i], option, strlen(option)) == 0)
            walls |= walls_named(rest->argument[i] + strlen(option));
        else
            rest->argument[kept++] = rest->argument[i];
    }
    rest->count = kept;
    return walls;
}
