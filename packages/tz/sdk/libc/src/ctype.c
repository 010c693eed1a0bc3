/* Classes of characters, of ASCII; C11 7.4. */
#include <ctype.h>

static int is_between(int c, int low, int high)
{
	return c >= low && c <= high;
}

int isdigit(int c)
{
	return is_between(c, '0', '9');
}
int isupper(int c)
{
	return is_between(c, 'A', 'Z');
}
int islower(int c)
{
	return is_between(c, 'a', 'z');
}
int isalpha(int c)
{
	return isupper(c) || islower(c);
}
int isalnum(int c)
{
	return isalpha(c) || isdigit(c);
}
int isascii(int c)
{
	return is_between(c, 0, 127);
}
int isblank(int c)
{
	return c == ' ' || c == '\t';
}
int iscntrl(int c)
{
	return is_between(c, 0, 31) || c == 127;
}
int isgraph(int c)
{
	return is_between(c, 33, 126);
}
int isprint(int c)
{
	return is_between(c, 32, 126);
}
int ispunct(int c)
{
	return isgraph(c) && !isalnum(c);
}
int isspace(int c)
{
	return c == ' ' || is_between(c, '\t', '\r');
}
int isxdigit(int c)
{
	return isdigit(c) || is_between(c, 'A', 'F') || is_between(c, 'a', 'f');
}
int tolower(int c)
{
	return isupper(c) ? c + ('a' - 'A') : c;
}
int toupper(int c)
{
	return islower(c) ? c - ('a' - 'A') : c;
}
