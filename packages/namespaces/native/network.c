/* Inside: what belongs to the network, uts and ipc namespaces: loopback, domain name, kernel parameters. */
#include "launcher.h"

int raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -1; /* with the descriptor, which goes with the process */
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	int result = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return result;
}

void op_domain_name(struct operation *op)
{
	const char *name = take_text(op);
	check(setdomainname(name, strlen(name)), name);
}

/* The plan names it, and only the sandbox's own namespaces' values are within reach: the kernel judges by what we are now. */
void op_sysctl(struct operation *op)
{
	char path[256];
	const char *name = take_text(op);
	const char *value = take_text(op);
	if ((size_t)snprintf(path, sizeof path, "/proc/sys/%s", name) >= sizeof path)
		fail(ENAMETOOLONG, name);
	check(write_file_at(AT_FDCWD, path, value), name);
}
