from django.urls import path

from resumable_glance_dashboard.panels.admin import views

urlpatterns = [path("", views.IndexView.as_view(), name="index")]
