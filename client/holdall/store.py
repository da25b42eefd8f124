"""The engine under the name that users of the face look for: the same objects as in `holdall_store`."""

from holdall_store import *
