/* The other object: what is kept between calls, and a text taken apart. */
#include "pal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct visits count_visit(void)
{
	static unsigned int count;
	static clock_t first;
	const clock_t now = clock();
	if (count++ == 0)
		first = now;
	return (struct visits){count, (double)(now - first)};
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *sort_words(const char *text)
{
	char *copy = strdup(text), *sorted = malloc(strlen(text) + 2), *next;
	/* Between two words there is at least a blank. */
	char **words = calloc(strlen(text) / 2 + 1, sizeof *words);
	size_t count = 0;
	if (copy && sorted && words) {
		for (char *word = strtok_r(copy, " ", &next); word; word = strtok_r(NULL, " ", &next))
			words[count++] = word;
		qsort(words, count, sizeof *words, compare);
		char *end = sorted;
		*end = '\0';
		for (size_t i = 0; i < count; i++) {
			if (i > 0)
				*end++ = ' ';
			end = stpcpy(end, words[i]);
		}
	} else {
		free(sorted);
		sorted = NULL;
	}
	free(words);
	free(copy);
	return sorted;
}
