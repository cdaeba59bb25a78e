"""What a data set looks like and what separates its classes, before anything is trained."""
