export LD_PRELOAD=/usr/local/lib/libnss_cache.so
