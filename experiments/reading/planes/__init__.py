"""One emitter on several planes: a movie that shows two focal planes or more, each frame of them fitted as one."""
