// Package epoll is what the loop lane asks of the kernel (Linux): readiness, and sockets
// that never wait. It knows nothing of what the bytes mean.
package epoll
