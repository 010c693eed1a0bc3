/* Inside: the network of the sandbox. */
#include "launcher.h"

void op_loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	check(fd, "lo");
	check(ioctl(fd, SIOCGIFFLAGS, &request), "lo");
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	check(ioctl(fd, SIOCSIFFLAGS, &request), "lo");
	close(fd);
}
