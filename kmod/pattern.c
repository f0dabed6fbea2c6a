// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kernel.h>
#include <linux/string.h>

#include "pattern.h"

/* What Kbuild finds in patterns/. */
static const struct pab_pattern * const pab_patterns[] = { PAB_PATTERN_ADDRESSES };

unsigned int pab_pattern_count(void)
{
	return ARRAY_SIZE(pab_patterns);
}

/* NULL where there is none. */
const struct pab_pattern *pab_pattern_by_number(unsigned int number)
{
	return number < ARRAY_SIZE(pab_patterns) ? pab_patterns[number] : NULL;
}

unsigned int pab_parameter_count(const struct pab_pattern *pattern)
{
	unsigned int count = 0;

	while (count < PAB_MAX_PARAMETERS && pattern->parameters[count].name)
		count++;
	return count;
}

unsigned int pab_operation_count(const struct pab_pattern *pattern)
{
	unsigned int count = 0;

	while (count < PAB_MAX_OPERATIONS && pattern->operations[count])
		count++;
	return count;
}

/* Whether all PAB_MAX_PARAMETERS of them are what the pattern takes. */
bool pab_parameters_valid(const struct pab_pattern *pattern, const u64 *parameters)
{
	unsigned int i;

	/* One that is not declared has the range 0 .. 0. */
	for (i = 0; i < PAB_MAX_PARAMETERS; i++)
		if (parameters[i] < pattern->parameters[i].min ||
		    parameters[i] > pattern->parameters[i].max)
			return false;
	return !pattern->valid || pattern->valid(parameters);
}

static void pab_name(__u8 *to, const char *name)
{
	size_t length = min_t(size_t, strlen(name), PAB_NAME_SIZE - 1);

	memcpy(to, name, length);
}

/* info: all 0 before. */
void pab_pattern_describe(const struct pab_pattern *pattern, struct pab_pattern_info *info)
{
	unsigned int i;

	pab_name(info->name, pattern->name);
	info->absent = pattern->absent;
	info->parameter_count = pab_parameter_count(pattern);
	for (i = 0; i < info->parameter_count; i++) {
		pab_name(info->parameters[i].name, pattern->parameters[i].name);
		info->parameters[i].min = pattern->parameters[i].min;
		info->parameters[i].max = pattern->parameters[i].max;
	}
	info->operation_count = pab_operation_count(pattern);
	for (i = 0; i < info->operation_count; i++)
		pab_name(info->operations[i].name, pattern->operations[i]);
}
