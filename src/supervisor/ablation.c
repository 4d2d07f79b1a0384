#include "ablation.h"

#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t wall_named(const char *name)
{
    for (int i = 0; i < 32; i++) {
        const char *other = i < LAYER_COUNT ? layer_names[i] : jail_wall_name(LAYER_BIT(i));
        bool of_a_layer = LAYER_BIT(i) == WALL_OWN_UID || LAYER_BIT(i) == WALL_FORKS;
        if (other && !of_a_layer && strcmp(name, other) == 0)
            return LAYER_BIT(i);
    }
    return 0;
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

static uint32_t row_named(const char *text)
{
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        char name[64], condition[160], both[256];
        policy_row_text(row, name, sizeof name, condition, sizeof condition);
        snprintf(both, sizeof both, "%s %s", name, condition);
        if ((row->verb == ALLOW || row->verb == ASK) && (strcmp(text, name) == 0 || strcmp(text, both) == 0))
            return (uint32_t)i + 1;
    }
    fprintf(stderr, "safe-script: --without-call: \"%s\" is no row\n", text);
    exit(2);
}

void ablation_take(struct rest *rest, struct jail_plan *plan)
{
    static const char layers[] = "--without=", row[] = "--without-call=";
    int kept = 0;
    for (int i = 0; i < rest->count; i++) {
        if (strncmp(rest->argument[i], layers, strlen(layers)) == 0)
            plan->without |= walls_named(rest->argument[i] + strlen(layers));
        else if (strncmp(rest->argument[i], row, strlen(row)) == 0)
            plan->without_row = row_named(rest->argument[i] + strlen(row));
        else
            rest->argument[kept++] = rest->argument[i];
    }
    rest->count = kept;
}
