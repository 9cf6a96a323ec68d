"""How long do the most expensive inputs that are accepted make other requests wait?"""
